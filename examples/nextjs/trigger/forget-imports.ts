import { logger, schedules } from "@trigger.dev/sdk";
import { app } from "./app";

/** What was imported long ago is forgotten every night. */
export const forgetImports = schedules.task({
  id: "forget-imports",
  cron: { pattern: "15 3 * * *", timezone: "Europe/Lisbon" },
  run: async (payload) => {
    const before = new Date(payload.timestamp.getTime() - 30 * 24 * 3600_000);
    const { forgotten } = await app<{ forgotten: number }>("DELETE", `/api/imports?before=${before.toISOString()}`);
    logger.info(`Forgot ${forgotten} imports`, { next: payload.upcoming[0] });
    return { forgotten };
  },
});
