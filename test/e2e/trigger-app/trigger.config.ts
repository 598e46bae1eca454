import { defineConfig } from "@trigger.dev/sdk";
export default defineConfig({
  project: "proj_quartettests", runtime: "node", logLevel: "log", maxDuration: 300, dirs: ["./src/trigger"],
  retries: { enabledInDev: true, default: { maxAttempts: 3, minTimeoutInMs: 300, maxTimeoutInMs: 1000, factor: 2, randomize: false } },
});
