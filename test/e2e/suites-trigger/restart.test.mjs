// The server is killed while tasks execute, wait and are delayed; the CLI, which is not restarted, goes on with them.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ended, reach, sdk, startDev, startServer, use } from "../lib/trigger.mjs";

const { tasks, wait } = sdk;

test("kill -9 of the server loses no run, and executes none twice", { timeout: 170_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "quartet-e2e-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  let server = await startServer({ dir });
  t.after(() => server.close());
  use(server);
  const dev = await startDev(server);
  t.after(() => dev.close());
  const token = await wait.createToken();
  const executing = await tasks.trigger("slow", { ms: 8000 });
  const waiting = await tasks.trigger("approval", { token: token.id });
  const delayed = await tasks.trigger("hello", { name: "late" }, { delay: "15s" });
  await reach(executing, "EXECUTING");
  await reach(waiting, "WAITING");
  await server.stop("SIGKILL");
  server = await startServer({ dir, port: server.port });
  await wait.completeToken(token.id, { by: "eve" });
  for (const [h, output] of [[executing, "slept"], [waiting, { by: "eve" }]]) {
    const r = await ended(h);
    assert.deepEqual([r.status, r.output, r.attemptCount], ["COMPLETED", output, 1]);
  }
  assert.equal((await ended(delayed)).output.hi, "late");
});
