// The pages of Trigger.dev tasks, against the API that their SDK uses.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { accessible, fitsWidth, later, openPage, settled, until } from "./lib/browser.mjs";
import { startServer } from "../e2e/lib/server.mjs";

/** A server with tasks that somebody registered, whom the test plays: it takes runs and reports their outcome. */
async function world(t) {
  const server = await startServer();
  later(t, () => server.close());
  const call = async (method, path, body, key = "tr_dev_quartet") => {
    const r = await fetch(server.url + path, { method, headers: { authorization: `Bearer ${key}`, "content-type": "application/json", "x-trigger-api-version": "2025-07-16" }, body: body && JSON.stringify(body) });
    const text = await r.text();
    assert.ok(r.ok, `${method} ${path}: ${r.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  };
  const tasks = [
    { id: "mail", filePath: "src/mail.ts", description: "Sends a mail", retry: { maxAttempts: 3 }, machine: { preset: "micro" } },
    { id: "report", filePath: "src/report.ts", triggerSource: "schedule", schedule: { cron: "0 9 * * *", timezone: "Europe/Berlin" } },
    { id: "letter", filePath: "src/letter.ts", concurrency: { inline: { total: 4 }, limits: ["post"] } },
  ];
  const worker = await call("POST", "/api/v1/projects/proj_shop/background-workers", { engine: "V2", metadata: { contentHash: "h", packageVersion: "4.8.3", tasks, queues: [], concurrencyLimits: [{ name: "post", total: 2, perKey: 1 }] } });
  const take = async () => (await call("POST", "/engine/v1/dev/dequeue", { currentWorker: worker.id, oldWorkers: [] })).dequeuedMessages;
  /** Executes the next run that is due, and lets it fail if there is an error. */
  const execute = async (output, error) => {
    const [m] = await until("a run", async () => { const all = await take(); return all.length && all; });
    const path = (s, what) => `/engine/v1/dev/runs/${m.run.friendlyId}/snapshots/${s.friendlyId}/attempts/${what}`;
    const started = await call("POST", path(m.snapshot, "start"), {});
    await call("POST", path(started.snapshot, "complete"), { completion: { id: m.run.friendlyId, ...(error ? { ok: false, error } : { ok: true, output: JSON.stringify(output), outputType: "application/json" }) } });
    return started.execution;
  };
  return { server, call, take, execute };
}

test("a task is tested, and its runs are found, replayed and cancelled", async (t) => {
  const w = await world(t);
  const page = await openPage(t, w.server, { path: "/tasks" });
  await page.getByRole("row", { name: /report scheduled/ }).waitFor();
  await page.getByRole("link", { name: "mail", exact: true }).click();
  await page.getByLabel("Payload").fill('{"to":"ann"}');
  await page.getByText("Options").click();
  await page.getByLabel("Tags").fill("first, second");
  await page.getByRole("button", { name: "Run test" }).click();
  await page.waitForURL("**/runs/*");
  const x = await w.execute({ sent: true });
  assert.deepEqual([x.run.payload, x.run.tags, x.run.isTest], ['{"to":"ann"}', ["first", "second"], true]);
  await page.goto(`${w.server.url}/tasks/runs?tag=first`);
  await page.getByRole("row", { name: /completed mail test/ }).waitFor();
  await page.getByRole("checkbox", { name: /Choose run/ }).check();
  await page.getByRole("button", { name: "Replay 1…" }).click();
  await page.getByRole("button", { name: "Replay them" }).click();
  const again = await w.execute({ sent: true });
  assert.equal(again.run.payload, '{"to":"ann"}');
  await page.getByText(/Replaying 1 run: 1 done, completed/).waitFor();
  await page.goto(`${w.server.url}/runs/${again.run.id.replace("run_", "").toUpperCase()}`);
  await page.getByRole("button", { name: "Replay…" }).click();
  await page.getByLabel("Payload").fill('{"to":"bea"}');
  await page.getByRole("dialog").getByRole("button", { name: "Replay" }).click();
  assert.deepEqual((await w.execute({ sent: true })).run.payload, '{"to":"bea"}');
  await w.call("POST", "/api/v1/tasks/mail/trigger", { payload: "{}", options: { delay: "1h", payloadType: "application/json" } });
  await page.goto(`${w.server.url}/tasks/runs?status=DELAYED`);
  await page.getByRole("checkbox", { name: /Choose run/ }).check();
  await page.getByRole("button", { name: "Cancel 1…" }).click();
  await page.getByRole("button", { name: "Cancel them" }).click();
  await page.getByText("No run fits these filters.").waitFor();
});

test("who is to be told of failures is told", async (t) => {
  const w = await world(t);
  const told = [];
  const receiver = createServer(async (req, res) => {
    let body = "";
    for await (const chunk of req) body += chunk;
    told.push({ body, signature: req.headers["x-trigger-signature-hmacsha256"] });
    res.end();
  });
  await new Promise((ok) => receiver.listen(0, "127.0.0.1", ok));
  later(t, () => receiver.close());
  const page = await openPage(t, w.server, { path: "/tasks/alerts", expectErrors: [/400/] });
  await page.getByText("Nobody is told yet.").waitFor();
  await page.getByRole("button", { name: "New channel…" }).click();
  await page.getByLabel("Name").fill("on call");
  await page.getByLabel("URL").fill("nowhere");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("must be a URL").waitFor();
  await page.getByLabel("URL").fill(`http://127.0.0.1:${receiver.address().port}/`);
  await page.getByRole("button", { name: "Create" }).click();
  const secret = await page.getByRole("region", { name: "Secret of the new channel" }).locator("code").first().innerText();
  await accessible(page);
  const signed = (m) => createHmac("sha256", secret).update(m.body).digest("hex") === m.signature;

  await page.getByRole("button", { name: "Send a test" }).click();
  await page.waitForURL("**/runs/*");
  await page.getByText("completed").first().waitFor();
  assert.ok(told.length === 1 && signed(told[0]), JSON.stringify(told));
  assert.match(JSON.parse(told[0].body).object.run.error.message, /test of the alert channel on call/);

  const { id } = await w.call("POST", "/api/v1/tasks/mail/trigger", { payload: "1", options: { ttl: 0, maxAttempts: 1, payloadType: "application/json" } });
  await w.execute(undefined, { type: "STRING_ERROR", raw: "no stamps" });
  await until("the alert", () => told.length === 2);
  const { object } = JSON.parse(told[1].body);
  assert.ok(signed(told[1]));
  assert.deepEqual([object.run.id, object.run.error.raw], [id, "no stamps"]);

  await page.goto(`${w.server.url}/tasks/alerts`);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("Nobody is told yet.").waitFor();
});

test("queues, schedules, tokens, variables and access tokens are looked after", async (t) => {
  const w = await world(t);
  const page = await openPage(t, w.server, { path: "/tasks/queues" });
  await w.call("POST", "/api/v1/tasks/mail/trigger", { payload: "1", options: { ttl: 0, payloadType: "application/json" } });
  await page.getByRole("row", { name: /mail 0 1 none/ }).getByRole("button", { name: "Pause" }).click();
  await page.getByText("paused", { exact: true }).waitFor();
  assert.deepEqual(await w.take(), []);
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await page.getByRole("row", { name: /mail 0 1 none/ }).getByRole("button", { name: "Limit…" }).click();
  await page.getByLabel("Runs at once").fill("0");
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /mail 0 1 0 instead of none/ }).waitFor();
  assert.deepEqual(await w.take(), []);
  await page.getByRole("button", { name: "Reset", exact: true }).click();
  await page.getByRole("row", { name: /mail 0 1 none/ }).waitFor();

  const environment = page.getByRole("region", { name: "The environment" });
  await environment.getByRole("button", { name: "Limit of the environment…" }).click();
  await page.getByLabel("Runs at once").fill("3");
  await page.keyboard.press("Enter");
  await environment.getByText("The environment executes 0 of at most 3 runs at once, and 1 wait. The server's own limit is 25.").waitFor();
  await environment.getByRole("button", { name: "Pause the environment" }).click();
  await environment.getByText("paused", { exact: true }).waitFor();
  assert.deepEqual(await w.take(), []);
  await accessible(page);
  await environment.getByRole("button", { name: "Resume the environment" }).click();
  await environment.getByRole("button", { name: "Reset the environment's limit" }).click();
  await environment.getByText("The environment executes 0 of at most 25 runs at once").waitFor();
  assert.equal((await w.take()).length, 1);

  const limits = page.getByRole("table", { name: "Concurrency limits" });
  await page.getByRole("row", { name: /letter 0 0 as its task says/ }).waitFor();
  await limits.getByRole("row", { name: /task\/letter 0 0 4 in total Total/ }).waitFor();
  await limits.getByRole("row", { name: /post 0 0 2 in total 1 for each key/ }).getByRole("button", { name: "Total…" }).click();
  await page.getByLabel("Runs at once, of all keys together").fill("0");
  await page.keyboard.press("Enter");
  await limits.getByRole("row", { name: /post 0 0 0 instead of 2 in total 1 for each key/ }).getByRole("button", { name: "Pause" }).click();
  await w.call("POST", "/api/v1/tasks/letter/trigger", { payload: "1", options: { ttl: 0, payloadType: "application/json" } });
  await limits.getByRole("row", { name: /post paused 0 1 0 instead of 2 in total/ }).getByRole("button", { name: "Reset" }).click();
  await limits.getByRole("row", { name: /post paused 0 1 2 in total/ }).waitFor();
  await accessible(page);
  assert.deepEqual(await w.take(), []);
  await limits.getByRole("row", { name: /post paused/ }).getByRole("button", { name: "Resume" }).click();
  await limits.getByRole("row", { name: /post 0 1 2 in total/ }).waitFor();
  assert.equal((await w.take()).length, 1);
  await page.goto(`${w.server.url}/tasks`);
  await page.getByRole("link", { name: "letter", exact: true }).click();
  await page.getByText(", 4 in total, within post").waitFor();

  await page.goto(`${w.server.url}/tasks/schedules`);
  await page.getByText("in the code").waitFor();
  await page.getByRole("button", { name: "New schedule…" }).click();
  await page.getByLabel("External id").fill("user_7");
  await page.getByRole("button", { name: "Create" }).click();
  const mine = page.locator("section", { hasText: "user_7" });
  await mine.getByRole("button", { name: "Pause" }).click();
  await mine.getByText("none while it is paused").waitFor();
  await mine.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await mine.waitFor({ state: "detached" });

  const { id } = await w.call("POST", "/api/v1/waitpoints/tokens", { tags: ["order"] });
  await page.goto(`${w.server.url}/tasks/tokens?status=WAITING`);
  await page.getByRole("button", { name: "Complete…" }).click();
  await page.getByLabel("Data").fill('{"approved":true}');
  await page.getByRole("dialog").getByRole("button", { name: "Complete" }).click();
  await page.getByText("No token fits this filter.").waitFor();
  assert.equal((await w.call("GET", `/api/v1/waitpoints/tokens/${id}`)).output, '{"approved":true}');

  await page.goto(`${w.server.url}/tasks/environment`);
  await page.getByRole("button", { name: "Import…" }).click();
  await page.getByLabel("Lines of a .env file").fill('# mine\nGREETING="good day"\nexport LEVEL=3');
  await page.getByRole("button", { name: "Import 2" }).click();
  await page.getByRole("row", { name: /GREETING good day/ }).waitFor();
  assert.equal((await w.call("GET", "/api/v1/projects/proj_shop/envvars")).variables.LEVEL, "3");
  await page.getByRole("button", { name: "New token…" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("CI");
  await page.getByRole("button", { name: "Make" }).click();
  await page.getByText(/tr_pat_/).first().waitFor();
  await page.getByRole("region", { name: "Access tokens" }).getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("button", { name: "New key…" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("worker");
  await page.getByRole("button", { name: "Make" }).click();
  await page.getByText(/tr_dev_sk_/).first().waitFor();
  const additional = page.getByRole("region", { name: "Additional keys" });
  await additional.getByRole("row", { name: /worker/ }).getByRole("button", { name: "Revoke" }).click();
  await additional.getByRole("row", { name: /worker/ }).waitFor({ state: "detached" });
  await page.getByRole("region", { name: "Environments" }).getByRole("button", { name: "Add…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  await page.getByRole("link", { name: "staging" }).waitFor();
});

test("the CLI is let in by whoever may use the dashboard", async (t) => {
  const w = await world(t);
  const ask = (body) => fetch(`${w.server.url}/api/v1/token`, { method: "POST", body: JSON.stringify(body) });
  const challenge = { codeChallenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", codeChallengeMethod: "S256" }; // the CLI sends one, and polls without its verifier
  const begun = await (await fetch(`${w.server.url}/api/v1/authorization-code`, { method: "POST", body: JSON.stringify(challenge) })).json();
  assert.equal((await ask({ authorizationCode: begun.authorizationCode, codeVerifier: "another" })).status, 400);
  assert.equal((await (await ask({ authorizationCode: begun.authorizationCode })).json()).token, null);
  const page = await openPage(t, w.server, { path: new URL(begun.url).pathname });
  await page.getByRole("button", { name: "Let it in" }).click();
  await page.getByText("The CLI has an access token now.").waitFor();
  const { token } = await (await ask({ authorizationCode: begun.authorizationCode })).json();
  assert.match(token.token, /^tr_pat_/);
  assert.equal((await ask({ authorizationCode: begun.authorizationCode })).status, 400, "a code works once");
});

test("links that the CLI prints lead somewhere", async (t) => {
  const w = await world(t);
  await w.call("GET", "/api/v1/queues", undefined, "tr_prod_quartet"); // production is used
  const page = await openPage(t, w.server, { path: "/projects/v3/proj_shop/deployments/abcd" });
  await page.getByRole("heading", { level: 1, name: "Deployments" }).waitFor();
  await page.waitForURL("**/tasks/deployments?env=prod");
  await page.goto(`${w.server.url}/projects/v3/proj_shop/test?environment=dev`);
  await page.getByRole("link", { name: "mail", exact: true }).waitFor();
});

test("the pages fit and are accessible", async (t) => {
  const w = await world(t);
  await w.call("POST", "/api/v1/tasks/mail/trigger", { payload: "{}", options: { payloadType: "application/json", tags: ["a-tag-that-is-rather-long"] } });
  await w.call("POST", "/api/v1/waitpoints/tokens", {});
  await w.call("POST", "/api/v1/tasks/mail/trigger", { payload: "{}" }, "tr_prod_quartet");
  for (const width of [1280, 400]) {
    const page = await openPage(t, w.server, { width, scheme: width === 400 ? "dark" : "light" });
    for (const p of ["/tasks", "/tasks/task?id=mail", "/tasks/runs", "/tasks/schedules", "/tasks/queues", "/tasks/tokens", "/tasks/batches", "/tasks/deployments?env=prod", "/tasks/alerts", "/tasks/environment", "/trigger/login/x"]) {
      await page.goto(w.server.url + p);
      await settled(page);
      await fitsWidth(page, `${p} at ${width}`);
      await accessible(page, `${p} at ${width}`);
    }
  }
});
