// The pages of QStash's messages, against its public API.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { accessible, fitsWidth, later, openPage, settled, until } from "./lib/browser.mjs";
import { startServer } from "../e2e/lib/server.mjs";

/** A server and a destination that answers 500 below /bad while it is broken, and 200 else. */
async function world(t) {
  const server = await startServer();
  later(t, () => server.close());
  const state = { broken: true, got: [] };
  const http = createServer((req, res) => {
    state.got.push(req.url);
    if (!state.broken || !req.url.startsWith("/bad")) return res.end(`{"took":"${req.url}"}`);
    res.writeHead(500, { "x-reason": "broken" }).end("the disk is full");
  });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  later(t, () => {
    http.closeAllConnections();
    return new Promise((ok) => http.close(ok));
  });
  const to = `http://127.0.0.1:${http.address().port}`;
  const v2 = async (method, path, { headers = {}, body } = {}) => {
    const r = await fetch(`${server.url}/v2/${path}`, { method, headers: { authorization: "Bearer x", ...headers }, body });
    assert.ok(r.ok, `${method} ${path}: ${r.status}`);
    return r.json();
  };
  const publish = async (path, headers = {}, body = '{"n":1}') => (await v2("POST", `publish/${to}${path}`, { headers: { "content-type": "application/json", ...headers }, body })).messageId;
  const states = async (id) => (await v2("GET", `logs?messageId=${id}`)).logs.map((e) => e.state);
  return { server, state, to, v2, publish, reaches: (id, want) => until(`${id} to be ${want}`, async () => (await states(id)).includes(want)), dead: async () => (await v2("GET", "dlq")).messages };
}

const rows = (page) => page.locator(".list tbody tr");

test("messages arrive while one looks, and are filtered and paged", async (t) => {
  const w = await world(t);
  const page = await openPage(t, w.server, { path: "/messages" });
  await page.getByText("No messages yet.").waitFor();
  const id = await w.publish("/ok", { "upstash-label": "greeting" });
  await page.getByRole("row", { name: /delivered POST .*\/ok/ }).waitFor();
  await page.getByRole("navigation", { name: "State" }).getByRole("link", { name: "delivered" }).click();
  await until("one row", async () => (await rows(page).count()) === 1);
  await page.getByLabel("Label").fill("nobody");
  await page.keyboard.press("Enter");
  await page.getByText("No message fits these filters.").waitFor();
  await page.getByLabel("Label").fill("greeting");
  await page.keyboard.press("Enter");
  await rows(page).getByRole("link", { name: /\/ok$/ }).click();
  await page.waitForURL(`**/messages/${id}`);

  await page.goto(`${w.server.url}/messages?state=CREATED`);
  for (let i = 0; i < 59; i++) await w.publish("/ok", { "upstash-delay": "1h" });
  await w.publish("/last", { "upstash-delay": "1h" });
  await page.getByRole("row", { name: /\/last/ }).waitFor(); // what the page shows, and where its next one begins, is up to date
  await until("a full page", async () => (await rows(page).count()) === 50);
  await page.getByRole("link", { name: "Next page" }).click();
  await until("the rest", async () => (await rows(page).count()) === 11);

  await page.getByRole("link", { name: "First page" }).click();
  await until("a full page", async () => (await rows(page).count()) === 50);
  await page.getByRole("button", { name: /^Live/ }).click();
  await w.publish("/while-paused", { "upstash-delay": "1h" });
  await page.getByRole("button", { name: /^Paused, there is news/ }).waitFor();
  assert.equal(await page.getByText("/while-paused").count(), 0);
  await page.keyboard.press("p");
  await page.getByText("/while-paused").waitFor();
});

test("a message shows how it is configured, what happened and its request, and can be cancelled", async (t) => {
  const w = await world(t);
  const id = await w.publish("/bad/one", {
    "upstash-retries": "4", "upstash-retry-delay": "3600000", "upstash-label": "nightly", "upstash-flow-control-key": "tenant-7", "upstash-flow-control-value": "parallelism=3",
    "upstash-failure-callback": `${w.to}/ok/failed`, "upstash-forward-x-tenant": "seven",
  }, '{"order":"o-17"}');
  await w.reaches(id, "RETRY");
  const page = await openPage(t, w.server, { path: `/messages/${id}` });
  await page.getByRole("heading", { level: 1, name: `POST ${w.to}/bad/one` }).waitFor();
  await page.getByRole("region", { name: "What this message waits for" }).getByText("another one follows").waitFor();
  const facts = page.locator(".facts");
  for (const text of ["up to 4", "3600000", "nightly", "tenant-7", "3 at a time", "/ok/failed"]) await facts.getByText(text).first().waitFor();
  await page.getByText("the disk is full").first().waitFor();
  await page.getByText(/The destination answered HTTP 500/).first().click();
  await page.getByText("broken", { exact: true }).waitFor();
  await page.getByRole("group", { name: "body of the message" }).getByText('"o-17"').waitFor();
  await page.getByRole("table", { name: "Headers" }).getByText("seven").waitFor();

  await page.getByRole("link", { name: "See its run" }).click();
  await page.getByRole("heading", { level: 1, name: "qstash-message" }).waitFor();
  await page.getByRole("link", { name: "See its message" }).click();
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the message" }).click();
  await page.locator(".sub").getByText("cancelled", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Cancel…" }).count(), 0);
  await w.reaches(id, "CANCELED");
});

test("dead letters are redriven and deleted: one, the selected, all that match", async (t) => {
  const w = await world(t);
  for (const [path, label] of [["/bad/a", "x"], ["/bad/b", "x"], ["/bad/c", "y"], ["/bad/d", "y"], ["/bad/e", "y"]]) await w.publish(path, { "upstash-retries": "0", "upstash-label": label });
  await until("five dead letters", async () => (await w.dead()).length === 5);
  w.state.broken = false;
  w.state.got.length = 0;
  const page = await openPage(t, w.server, { path: "/dead" });
  const row = (path) => page.getByRole("row", { name: new RegExp(path) });
  await row("/bad/a").getByText("HTTP 500 Internal Server Error: the disk is full").waitFor();
  await row("/bad/a").getByRole("button", { name: /^Redrive/ }).click();
  await row("/bad/a").waitFor({ state: "detached" });
  await until("the first again", () => w.state.got.includes("/bad/a"));

  // By keyboard: the box of a row, and the dialog.
  await row("/bad/b").getByRole("checkbox").focus();
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Delete selected…" }).press("Enter");
  await page.getByRole("dialog", { name: "Delete 1 message?" }).waitFor();
  await page.keyboard.press("Control+Enter");
  await row("/bad/b").waitFor({ state: "detached" });

  await row("/bad/c").getByRole("checkbox").check();
  await page.getByRole("button", { name: "Redrive selected…" }).click();
  await page.getByRole("dialog", { name: "Redrive 1 message?" }).getByRole("button", { name: "Redrive" }).click();
  await row("/bad/c").waitFor({ state: "detached" });

  await page.goto(`${w.server.url}/dead?label=y`);
  await page.getByRole("button", { name: "Redrive all that match…" }).click();
  await page.getByRole("dialog", { name: /that match the filters/ }).getByRole("button", { name: "Redrive" }).click();
  await page.getByText("No dead letter fits these filters.").waitFor();
  await until("the others again", () => ["/bad/c", "/bad/d", "/bad/e"].every((p) => w.state.got.includes(p)));
  assert.ok(!w.state.got.includes("/bad/b"), "what was deleted is not delivered");
  assert.deepEqual(await w.dead(), []);
});

test("queues, keys and schedules are paused and resumed; groups show their endpoints", async (t) => {
  const w = await world(t);
  await w.v2("POST", "queues", { body: '{"queueName":"mails","parallelism":2}' });
  await w.publish("/ok", { "upstash-delay": "1h", "upstash-flow-control-key": "tenant/7", "upstash-flow-control-value": "rate=5,period=1m" });
  await w.v2("POST", `schedules/${w.to}/ok`, { headers: { "upstash-cron": "0 0 1 1 *", "upstash-schedule-id": "yearly" } });
  await w.v2("POST", "topics/users/endpoints", { body: JSON.stringify({ endpoints: [{ name: "crm", url: `${w.to}/ok/crm` }, { url: `${w.to}/ok/mail` }] }) });
  const page = await openPage(t, w.server, { path: "/queues" });
  const queue = page.getByRole("row", { name: /mails/ });
  await queue.getByRole("button", { name: "Pause queue mails" }).click();
  await queue.getByText("paused", { exact: true }).waitFor();
  const id = (await w.v2("POST", `enqueue/mails/${w.to}/queued`)).messageId;
  await queue.getByRole("cell", { name: "1", exact: true }).waitFor(); // the lag
  await queue.getByRole("button", { name: "Resume queue mails" }).click();
  await w.reaches(id, "DELIVERED");
  const key = page.getByRole("row", { name: /tenant\/7/ });
  await key.getByText("5 per 1 min").waitFor();
  await key.getByRole("button", { name: /^Pause/ }).click();
  await key.getByText("paused", { exact: true }).waitFor();
  assert.equal((await w.v2("GET", "flowControl/tenant%2F7")).isPaused, true);

  await page.keyboard.press("g");
  await page.keyboard.press("c");
  const schedule = page.getByRole("region", { name: "yearly" });
  await schedule.getByText("0 0 1 1 *").waitFor();
  await schedule.getByRole("button", { name: "Pause" }).click();
  await schedule.getByText("none while it is paused").waitFor();
  await schedule.getByRole("button", { name: "Resume" }).click();
  await schedule.getByText(/in \d+ d/).waitFor();
  await schedule.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("No schedules yet.").waitFor();

  await page.keyboard.press("g");
  await page.keyboard.press("u");
  const group = page.getByRole("region", { name: "users" });
  await group.getByText("crm", { exact: true }).waitFor();
  await group.getByText(`${w.to}/ok/mail`).waitFor();
});

test("every page fits and is accessible", async (t) => {
  const w = await world(t);
  const long = "a-name-that-is-far-too-long-for-any-column-of-a-list".repeat(3);
  await w.publish(`/ok/${"path/".repeat(40)}`, { "upstash-label": long.slice(0, 100), "upstash-flow-control-key": long, "upstash-flow-control-value": "rate=5,parallelism=2", "upstash-delay": "9d" }, "\u0000 no json");
  const id = await w.publish(`/bad/${"x".repeat(150)}`, { "upstash-retries": "0", "upstash-label": "a" }, JSON.stringify({ text: "y".repeat(900) }));
  await w.v2("POST", "queues", { body: JSON.stringify({ queueName: long, parallelism: 2, paused: true }) });
  await w.v2("POST", `schedules/${w.to}/ok`, { headers: { "upstash-cron": "* * * * *", "upstash-schedule-id": long } });
  await w.v2("POST", "topics/users/endpoints", { body: JSON.stringify({ endpoints: [{ name: long, url: `${w.to}/ok/${long}` }] }) });
  await w.reaches(id, "FAILED");
  for (const [width, scheme] of [[400, "light"], [1280, "light"], [400, "dark"], [1280, "dark"]]) {
    const page = await openPage(t, w.server, { width, scheme });
    for (const path of ["/messages", `/messages/${id}`, "/dead", "/schedules", "/queues", "/groups"]) {
      const what = `${path} at ${width} px, ${scheme}`;
      await page.goto(w.server.url + path);
      await settled(page);
      for (const summary of await page.locator("summary").all()) await summary.click();
      await fitsWidth(page, what);
      await accessible(page, what);
      await page.getByRole("button", { name: "Live Pause" }).waitFor();
    }
    await page.goto(`${w.server.url}/dead`);
    await page.getByRole("button", { name: "Redrive all…" }).click();
    await page.getByRole("dialog").waitFor();
    await fitsWidth(page, `dialog at ${width} px`);
    await accessible(page, `dialog at ${width} px, ${scheme}`);
  }
});

test("a failed workflow run is seen on the run page, resumed, and restarted", async (t) => {
  const w = await world(t);
  // What the library does, without it: each call submits the next step, and the last one ends the run.
  const http = createServer(async (req, res) => {
    const chunks = [];
    for await (const c of req) chunks.push(c);
    const steps = JSON.parse(Buffer.concat(chunks)).map((s) => Buffer.from(s.body, "base64").toString());
    const runId = req.headers["upstash-workflow-runid"];
    const submit = (step, extra) => w.v2("POST", "batch", { body: JSON.stringify([{ destination: url, headers: { "upstash-workflow-init": "false", "upstash-workflow-runid": runId, "upstash-workflow-url": url, ...extra }, body: JSON.stringify({ concurrent: 1, ...step }) }]) });
    if (steps.length === 1) await submit({ stepId: 1, stepName: "charge the card", stepType: "Run", out: '{"charged":true}' });
    else if (w.state.broken) return res.writeHead(500).end('{"error":"Error","message":"the printer is on fire"}');
    else if (steps.length === 2) await submit({ stepId: 2, stepName: "rest", stepType: "SleepFor", sleepFor: 3600 }, { "upstash-delay": "1h" });
    res.end("{}");
  });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  later(t, () => {
    http.closeAllConnections();
    return new Promise((ok) => http.close(ok));
  });
  const url = `http://127.0.0.1:${http.address().port}/wf`;
  for (const id of ["wfr_a", "wfr_b"]) {
    await w.v2("POST", "batch", { body: JSON.stringify([{ destination: url, headers: { "upstash-workflow-init": "true", "upstash-workflow-runid": id, "upstash-workflow-url": url, "upstash-retries": "0", "upstash-feature-set": "WF_TriggerOnConfig,InitialBody" }, body: '{"order":7}' }]) });
  }
  const page = await openPage(t, w.server, { path: "/dead" });
  await page.getByText("No dead letters.").waitFor();
  await page.getByRole("navigation", { name: "Kind" }).getByRole("link", { name: "Workflow runs" }).click();
  const row = (id) => page.getByRole("row", { name: new RegExp(id) });
  await row("wfr_b").getByText("HTTP 500 Internal Server Error").waitFor();
  await row("wfr_a").getByRole("link", { name: url }).click();
  await page.getByRole("heading", { level: 1, name: "qstash-workflow" }).waitFor();
  await page.getByRole("button", { name: /^charge the card/ }).waitFor();
  await page.getByLabel("Why this run failed").getByText("the printer is on fire").first().waitFor();
  w.state.broken = false;
  await page.goBack();
  await row("wfr_a").getByRole("button", { name: "Resume wfr_a" }).click();
  await row("wfr_a").waitFor({ state: "detached" });
  await row("wfr_b").getByRole("checkbox").check();
  await page.getByRole("button", { name: "Restart selected…" }).click();
  await page.getByRole("dialog", { name: "Restart 1 run?" }).getByRole("button", { name: "Restart" }).click();
  await row("wfr_b").waitFor({ state: "detached" });
  const resting = await until("two that rest", async () => {
    const { runs } = await w.v2("GET", "workflows/logs?state=RUN_STARTED");
    return runs.length === 2 && runs.every((r) => r.steps.length === 3) && runs;
  });
  assert.ok(!resting.some((r) => ["wfr_a", "wfr_b"].includes(r.workflowRunId)));
  const message = resting[0].steps[0].steps[0].messageId;
  await page.goto(`${w.server.url}/runs/${message.replace("msg_", "")}`);
  await page.getByLabel("What this run waits for").getByText("rest").first().waitFor();
  await page.getByRole("button", { name: /^rest/ }).click();
  assert.equal(await page.getByRole("button", { name: "Rerun from this step…" }).count(), 0);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  await accessible(page);
  await page.getByRole("button", { name: "Rerun", exact: true }).click();
  await page.getByText("A new run was started.").waitFor();
});
