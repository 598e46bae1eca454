// Follows a run with the SDK of version 3 and prints its last status and greeting. The arguments are the server's URL, a token and the run.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const installed = createRequire(new URL("../trigger-app/package.json", import.meta.url));
const { configure, runs } = await import(pathToFileURL(installed.resolve("trigger-sdk-3/v3")));
const [baseURL, accessToken, id] = process.argv.slice(2);
configure({ baseURL, accessToken });
for await (const r of runs.subscribeToRun(id)) {
  if (r.status === "COMPLETED") process.stdout.write(JSON.stringify([r.status, r.output.hi]), () => process.exit());
}
