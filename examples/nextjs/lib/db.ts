// Stands where your database would: a few maps in memory. They hang on globalThis because Next.js loads a module once for
// pages and once for route handlers, and again after every edit.
import type { Contact } from "./csv";
import type { Plan } from "./events";

export type User = { id: string; name: string; email: string; plan: Plan; deleted: boolean };
export type Workspace = { id: string; ownerId: string; name: string };
export type Mail = { to: string; subject: string; sentAt: number };
export type Session = { id: string; expiresAt: number };

type Tables = {
  users: Map<string, User>;
  workspaces: Map<string, Workspace>;
  notes: Map<string, { userId: string; text: string }>;
  sessions: Map<string, Session>;
  outbox: Mail[];
  gifts: Map<string, { userId: string; text: string }>;
  newsletter: Set<string>;
  imports: Map<string, { id: string; startedAt: number; contacts: Contact[] }>;
  refunds: Map<string, { email: string; state: "asked for" | "paid back" | "lapsed" }>; // by payment
  provider: { sent: Set<string>; refused: Set<string> }; // of mail, by job
  handled: Map<string, unknown>; // ids of messages to what was answered
};

export const admins = [
  { id: "admin_ines", email: "ines@paperboat.example" },
  { id: "admin_jonas", email: "jonas@paperboat.example" },
  { id: "admin_wei", email: "wei@paperboat.example" },
];

const here = globalThis as { paperboat?: Tables };

export const db: Tables = (here.paperboat ??= {
  users: new Map(),
  workspaces: new Map(),
  notes: new Map(),
  sessions: new Map(),
  outbox: [],
  gifts: new Map(),
  newsletter: new Set(),
  imports: new Map(),
  refunds: new Map(),
  provider: { sent: new Set(), refused: new Set() },
  handled: new Map(),
});

/** Short, and easy to recognize in the dashboard. */
export const newId = (kind: string) => `${kind}_${crypto.randomUUID().slice(0, 8)}`;
