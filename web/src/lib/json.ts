// JSON of users is shown exactly as it was stored: a 64-bit id must not be rounded by a page that is used to find out
// what went wrong. Numbers whose text JavaScript would change are kept as text.

/** A number in the words of whoever wrote it. */
export class ExactNumber {
  constructor(readonly text: string) {}
}

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;

/** Parses JSON and keeps numbers exact where the browser tells their source text. */
export function parse(text: string): unknown {
  const exact: Reviver = (_key, value, context) =>
    typeof value === "number" && context?.source !== undefined && String(value) !== context.source ? new ExactNumber(context.source) : value;
  return JSON.parse(text, exact as (this: unknown, key: string, value: unknown) => unknown);
}

/** Formats a parsed value; the inverse of parse. */
export function format(value: unknown, indent = 2, depth = 0): string {
  if (value === undefined) return "";
  if (value instanceof ExactNumber) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const list = Array.isArray(value);
  const parts = list
    ? value.map((v) => format(v, indent, depth + 1))
    : Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}:${indent ? " " : ""}${format(v, indent, depth + 1)}`);
  const [open, close] = list ? "[]" : "{}";
  if (parts.length === 0) return `${open}${close}`;
  if (!indent) return `${open}${parts.join(",")}${close}`;
  const pad = " ".repeat(indent * (depth + 1));
  return `${open}\n${pad}${parts.join(`,\n${pad}`)}\n${" ".repeat(indent * depth)}${close}`;
}

/** Why a text is no JSON, with the line where that shows; "" if it is JSON. */
export function problem(text: string): string {
  try {
    JSON.parse(text);
    return "";
  } catch (err) {
    const msg = err instanceof Error ? err.message : String(err);
    const at = /position (\d+)/.exec(msg);
    if (!at) return msg;
    const line = text.slice(0, Number(at[1])).split("\n").length;
    return msg.includes("(line") ? msg : `${msg} (line ${line})`;
  }
}

/** The parts of an error that every SDK gives under these names. */
export interface ErrorParts {
  name: string;
  message: string;
  stack: string;
  cause?: unknown;
  rest: Record<string, unknown>;
}

/** Reads an error value; undefined if it does not look like one. */
export function errorParts(value: unknown): ErrorParts | undefined {
  if (typeof value === "string") return { name: "", message: value, stack: "", rest: {} };
  if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
  const { name, message, stack, cause, __serialized: _, ...rest } = value as Record<string, unknown>;
  if (typeof message !== "string" && typeof stack !== "string") return undefined;
  return { name: typeof name === "string" ? name : "", message: typeof message === "string" ? message : "", stack: typeof stack === "string" ? stack : "", cause, rest };
}

/** The lines of a stack that are not its message again. */
export function stackFrames(e: ErrorParts): string {
  const head = e.stack.indexOf(e.message);
  const body = e.message && head >= 0 ? e.stack.slice(head + e.message.length) : e.stack;
  return body.replace(/^\s*\n/, "").trimEnd();
}
