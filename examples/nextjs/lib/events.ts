// Every event of the app and what it carries. Only types: whoever sends or receives events, with whichever SDK, shares them.

export type Plan = "free" | "team";

export type Events = {
  "user/created": { userId: string; email: string; name: string };
  "user/deleted": { userId: string };
  "plan/changed": { userId: string; plan: Plan };
  "admin/notice": { adminId: string; text: string };
  "contact/changed": { userId: string };
};
