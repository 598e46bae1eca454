// Knows the webhooks of the payment provider: each is signed with a secret that the two share.
import { createHmac, timingSafeEqual } from "node:crypto";

const TOLERANCE = 5 * 60; // s; an older request may be one that somebody recorded

/** Whether a body was signed with PAYMENTS_SECRET, by a header like "t=<Unix seconds>,v1=<HMAC-SHA256 of t.body in hex>". */
export function isFromProvider(body: string, header: string | null) {
  const secret = process.env.PAYMENTS_SECRET;
  if (!secret) throw new Error("PAYMENTS_SECRET is not set");
  const parts = new Map((header ?? "").split(",").map((part) => part.split("=", 2) as [string, string]));
  const time = parts.get("t") ?? "";
  if (!(Math.abs(Date.now() / 1000 - Number(time)) <= TOLERANCE)) return false;
  const want = createHmac("sha256", secret).update(`${time}.${body}`).digest();
  const got = Buffer.from(parts.get("v1") ?? "", "hex");
  return got.length === want.length && timingSafeEqual(got, want);
}
