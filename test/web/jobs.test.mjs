// The pages of BullMQ's queues and jobs, against the official package.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FlowProducer, Queue, Worker } from "bullmq";
import { freePort, startServer } from "../e2e/lib/server.mjs";
import { accessible, fitsWidth, later, openPage, until } from "./lib/browser.mjs";

/** A server, a queue with a worker whose jobs named "bad" fail while it is broken, and what was done. */
async function world(t, { worker = true } = {}) {
  const port = await freePort();
  const server = await startServer({ args: [`--redis=127.0.0.1:${port}`] });
  later(t, () => server.close());
  const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
  const queue = new Queue("emails", { connection });
  later(t, () => queue.close());
  const state = { broken: true, done: [] };
  if (worker) {
    const w = new Worker("emails", async (job) => {
      await job.log(`sends to ${job.data.to}`);
      if (job.name === "bad" && state.broken) throw new Error("the mail server is down");
      state.done.push(job.id);
      return { sent: job.data.to };
    }, { connection, name: "mailer" });
    later(t, () => w.close(true));
  }
  return { server, queue, connection, state };
}

test("queues and jobs are shown as they change, and failed jobs are retried", async (t) => {
  const w = await world(t);
  const page = await openPage(t, w.server, { path: "/jobs" });
  await w.queue.add("welcome", { to: "ann@x" });
  await w.queue.add("bad", { to: "bob@x" }, { attempts: 1 });
  const row = page.getByRole("row", { name: /emails/ });
  await row.getByText("1 worker").waitFor();
  await until("one failed job", async () => (await row.getByRole("cell").nth(5).innerText()) === "1");
  await row.getByRole("link", { name: "1" }).click();
  await page.getByRole("heading", { level: 1, name: "emails" }).waitFor();
  await page.getByText("the mail server is down").waitFor();
  await page.getByRole("link", { name: "bad", exact: true }).click();
  await page.getByLabel("Why it failed").getByText("the mail server is down").first().waitFor();
  await page.getByText("sends to bob@x").waitFor();
  await accessible(page);
  w.state.broken = false;
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  await page.locator(".sub").getByText("completed").waitFor();
  await page.getByRole("heading", { name: "Result" }).waitFor();
  assert.deepEqual(w.state.done.length, 2);

  // One like it, by keyboard.
  await page.getByRole("button", { name: "Add one like it…" }).click();
  await page.getByRole("textbox", { name: "Data" }).fill('{"to":"eve@x","n":12345678901234567890}');
  await page.keyboard.press("Control+Enter");
  await page.getByText("sends to eve@x").waitFor(); // the page is the new job's
  await page.locator(".sub").getByText("completed").waitFor();
  const [newest] = await w.queue.getCompleted(0, 0);
  assert.equal((await w.queue.getJob(newest.id)).data.to, "eve@x");
});

test("a delayed job is found, promoted, changed and removed; a queue is paused, limited, cleaned and deleted", async (t) => {
  const w = await world(t, { worker: false });
  await w.queue.add("reminder", { to: "carol@x" }, { delay: 3_600_000, jobId: "remind-carol" });
  for (let i = 0; i < 60; i++) await w.queue.add("bulk", { to: `u${i}@x` });
  const page = await openPage(t, w.server, { path: "/jobs/queue?queue=emails" });
  await page.getByText("nobody takes the jobs that wait").waitFor();
  await page.getByRole("link", { name: "Next page" }).click();
  await until("the rest", async () => (await page.locator(".list tbody tr").count()) === 10);
  await page.getByLabel("Id, or part of a name, data or error").fill("u42@");
  await page.keyboard.press("Enter");
  await until("one row", async () => (await page.locator(".list tbody tr").count()) === 1);
  await page.getByRole("navigation", { name: "State" }).getByRole("link", { name: /delayed/ }).click();
  await page.getByLabel("Id, or part of a name, data or error").fill("remind-carol");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "reminder" }).click();
  await page.getByRole("button", { name: "Edit data…" }).click();
  await page.getByLabel("Data", { exact: true }).fill('{"to":"carol@y"}');
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.getByText("carol@y").waitFor();
  await page.getByRole("button", { name: "Promote" }).click();
  await page.locator(".sub").getByText("waiting").waitFor();
  assert.equal(await w.queue.getJobState("remind-carol"), "waiting");
  assert.deepEqual((await w.queue.getJob("remind-carol")).data, { to: "carol@y" });
  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByRole("heading", { level: 1, name: "emails" }).waitFor();
  assert.equal(await w.queue.getJob("remind-carol"), undefined);

  await page.getByRole("button", { name: "Pause", exact: true }).first().click();
  await until("the queue to be paused", () => w.queue.isPaused());
  await page.getByRole("button", { name: "Change…" }).first().click();
  await page.getByLabel("At most").fill("3");
  await page.keyboard.press("Enter");
  await until("the limit", async () => (await w.queue.getGlobalConcurrency()) === 3);
  await page.getByRole("button", { name: "Clean…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await until("no job", async () => (await w.queue.count()) === 0);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("No job queues yet.").waitFor();
});

test("flows, schedulers and failed jobs have their places", async (t) => {
  const w = await world(t);
  const flows = new FlowProducer({ connection: w.connection });
  later(t, () => flows.close());
  const flow = await flows.add({ name: "report", queueName: "reports", data: {}, children: [{ name: "part", queueName: "parts", data: {} }, { name: "bad", queueName: "emails", data: { to: "x" } }] });
  await w.queue.upsertJobScheduler("daily", { pattern: "0 8 * * *", tz: "Europe/Lisbon" }, { name: "digest", data: { to: "all" } });
  const page = await openPage(t, w.server, { path: `/jobs/job?queue=reports&id=${flow.job.id}` });
  await page.locator(".sub").getByText("waiting-children").waitFor();
  await page.locator(".flow").getByRole("link", { name: "part" }).click();
  await page.getByText("of reports").first().waitFor();
  await page.goto(`${w.server.url}/jobs/queue?queue=emails`);
  const scheduler = page.getByRole("row", { name: /daily/ });
  await scheduler.getByText("0 8 * * *").waitFor();
  await scheduler.getByRole("button", { name: "Run daily now" }).click();
  await until("the run", async () => (await w.queue.getCompleted()).some((j) => j.name === "digest"));
  await scheduler.getByRole("button", { name: "Remove daily…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await until("no scheduler", async () => (await w.queue.getJobSchedulersCount()) === 0);

  await page.goto(`${w.server.url}/dead?of=jobs`);
  const failed = page.getByRole("row", { name: /bad/ });
  await failed.getByText("the mail server is down").waitFor();
  await accessible(page);
  w.state.broken = false;
  await failed.getByRole("button", { name: /^Retry/ }).click();
  await page.getByText("No job has failed.").waitFor();
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    for (const path of ["/jobs", "/jobs/queue?queue=emails", `/jobs/job?queue=reports&id=${flow.job.id}`]) {
      await page.goto(w.server.url + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await fitsWidth(page, `${path} at ${width}`);
      await accessible(page);
    }
  }
});
