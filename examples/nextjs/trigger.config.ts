import { defineConfig } from "@trigger.dev/sdk";

export default defineConfig({
  project: "proj_paperboat",
  runtime: "node",
  dirs: ["./trigger"],
  maxDuration: 600,
  retries: {
    enabledInDev: true,
    default: { maxAttempts: 3, minTimeoutInMs: 500, maxTimeoutInMs: 10_000, factor: 2, randomize: true },
  },
});
