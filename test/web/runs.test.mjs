// The page of a run: its steps and attempts, what it waits for, and what one can do to it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gate } from "./lib/app.mjs";
import { later, runOf, setup, until } from "./lib/browser.mjs";

const step = (page, name) => page.locator(".step", { has: page.locator(".step-title", { hasText: new RegExp(`^${name}$`) }) });

test("a run shows its steps over time with their output", async (t) => {
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "order" }, { event: "shop/order" }, async ({ event, step }) => {
      const order = await step.run("load", () => ({ id: event.data.id, lines: [{ sku: "A" }] }));
      await Promise.all([step.run("stock", () => 1), step.run("charge", () => ({ paid: true }))]);
      return { order };
    }),
  ]);
  await app.send({ name: "shop/order", data: { id: "o-1" } });
  const { run } = await runOf(server, "app-order", (d) => d.run.status === "completed");
  await page.goto(`${server.url}/runs/${run.id}`);
  for (const name of ["load", "stock", "charge"]) {
    await step(page, name).getByText("done").waitFor();
    assert.ok((await step(page, name).locator(".seg.done").boundingBox()).width >= 3, `${name} has a bar`);
  }
  await page.getByRole("button", { name: /^load/ }).click();
  await page.getByRole("group", { name: "output of load" }).getByText('"o-1"').waitFor();
  assert.match(page.url(), /step=/);
  await page.reload();
  const out = page.getByRole("group", { name: "output of load" });
  await out.getByText('"o-1"').waitFor();
  await out.getByRole("button", { name: "value, 2 keys" }).click(); // folds
  assert.equal(await out.getByText('"o-1"').count(), 0);
  await page.getByRole("group", { name: "data of shop/order" }).getByText('"o-1"').waitFor();
  await page.getByRole("group", { name: "output of the run" }).getByText("order").waitFor();
});

test("a retrying step tells its error, its stack, the answer and the time of the next attempt", async (t) => {
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "flaky", retries: 3 }, { event: "test/flaky" }, async ({ step }) => {
      await step.run("call the bank", () => {
        throw new TypeError("the bank said no");
      });
    }),
  ], { server: { args: ["--retry=1h"] } });
  await app.send({ name: "test/flaky", data: {} });
  const { run } = await runOf(server, "app-flaky", (d) => d.attempts.length === 1 && d.waiting.state === "retrying");
  await page.goto(`${server.url}/runs/${run.id}`);
  const waiting = page.getByRole("region", { name: "What this run waits for" });
  await waiting.getByText("failed; attempt 2 follows").waitFor();
  await waiting.getByText("the bank said no", { exact: true }).waitFor();
  assert.match(await waiting.getByRole("timer").first().innerText(), /^59 min \d+ s$|^1 h$/);

  const row = step(page, "call the bank");
  await row.getByText("retrying", { exact: true }).waitFor();
  assert.ok(await row.locator(".seg.failed").isVisible());
  await row.getByRole("button", { name: /call the bank/ }).click();
  await row.getByText("TypeError", { exact: true }).waitFor();
  await row.getByText("Stack", { exact: true }).click();
  await row.getByText(/at .*runs\.test\.mjs/).first().waitFor();
  await row.getByText(/The app answered HTTP 206/).click();
  await row.getByText("x-inngest-sdk", { exact: true }).waitFor();
});

test("attempts and the end of a failing run arrive while one looks", async (t) => {
  let n = 0;
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "fails", retries: 1 }, { event: "test/fails" }, async ({ step }) => {
      await step.run("try", () => {
        throw new Error(`failure ${++n}`);
      });
    }),
  ]);
  await app.send({ name: "test/fails", data: {} });
  const { run } = await runOf(server, "app-fails");
  await page.goto(`${server.url}/runs/${run.id}`);
  const why = page.getByRole("region", { name: "Why this run failed" });
  await why.getByText("failure 2", { exact: true }).waitFor();
  await why.getByText(/The app answered HTTP \d+/).waitFor();
  await page.getByRole("button", { name: /^try/ }).click();
  await page.getByText("Attempt 1", { exact: true }).waitFor();
  await page.getByText("Attempt 2", { exact: true }).waitFor();
  assert.match(await page.title(), /^failed: app-fails/);
});

test("a sleeping run counts down to its wake-up", async (t) => {
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "sleeper" }, { event: "test/sleep" }, async ({ step }) => {
      await step.sleep("nap", "2h");
    }),
  ]);
  await app.send({ name: "test/sleep", data: {} });
  const { run } = await runOf(server, "app-sleeper", (d) => d.waiting.state === "waiting");
  await page.goto(`${server.url}/runs/${run.id}`);
  const waiting = page.getByRole("region", { name: "What this run waits for" });
  await waiting.getByText("sleeps").waitFor();
  const timer = waiting.getByRole("timer");
  assert.match(await timer.innerText(), /^1 h 59 min$|^2 h$/);
  await step(page, "nap").getByText("sleeping").waitFor();
});

test("a countdown goes down and the run goes on by itself", async (t) => {
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "short" }, { event: "test/short" }, async ({ step }) => {
      await step.sleep("blink", "4s");
      return "awake";
    }),
  ]);
  await app.send({ name: "test/short", data: {} });
  const { run } = await runOf(server, "app-short", (d) => d.waiting.state === "waiting");
  await page.goto(`${server.url}/runs/${run.id}`);
  const timer = page.getByRole("region", { name: "What this run waits for" }).getByRole("timer");
  const seen = new Set();
  await until("two different numbers", async () => {
    seen.add(await timer.innerText());
    return seen.size >= 2;
  });
  await page.getByRole("group", { name: "output of the run" }).getByText('"awake"').waitFor();
});

test("a wait says for which event, and one that is blocked says why", async (t) => {
  const hold = gate();
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "waiter" }, { event: "test/wait" }, async ({ step }) => step.waitForEvent("answer", { event: "test/answer", timeout: "2d", match: "data.id" })),
    create({ id: "single", concurrency: 1 }, { event: "test/single" }, async ({ step }) => step.run("hold", () => hold.opened)),
  ]);
  later(t, () => hold.open());
  await app.send({ name: "test/wait", data: { id: 7 } });
  const waiter = await runOf(server, "app-waiter", (d) => d.waiting.state === "waiting");
  await page.goto(`${server.url}/runs/${waiter.run.id}`);
  const waiting = page.getByRole("region", { name: "What this run waits for" });
  await waiting.getByText("waits for the event test/answer").waitFor();
  await waiting.getByText("event.data.id == async.data.id").waitFor();
  await waiting.getByText(/Gives up waiting in/).waitFor();

  await app.send([{ name: "test/single", data: {} }, { name: "test/single", data: {} }]);
  const blocked = await runOf(server, "app-single", (d) => d.waiting.state === "blocked");
  await page.goto(`${server.url}/runs/${blocked.run.id}`);
  await waiting.getByText("Has to wait: the function is at its concurrency limit of 1").waitFor();
  hold.open();
  await page.locator(".sub").getByText("completed").waitFor();
});

test("a run can be cancelled", async (t) => {
  const { page, server, app } = await setup(t, (create) => [create({ id: "long" }, { event: "test/long" }, async ({ step }) => step.sleep("night", "1d"))]);
  await app.send({ name: "test/long", data: {} });
  const { run } = await runOf(server, "app-long", (d) => d.waiting.state === "waiting");
  await page.goto(`${server.url}/runs/${run.id}`);
  await page.getByRole("button", { name: "Cancel…" }).click();
  const dialog = page.getByRole("dialog", { name: "Cancel this run?" });
  await dialog.getByRole("button", { name: "Close" }).click();
  assert.equal((await server.run(run.id)).run.status, "running");
  await page.getByRole("button", { name: "Cancel…" }).click();
  await dialog.getByRole("button", { name: "Cancel the run" }).click();
  await page.locator(".sub").getByText("cancelled").waitFor();
  assert.equal((await server.run(run.id)).run.status, "cancelled");
  assert.equal(await page.getByRole("button", { name: "Cancel…" }).count(), 0);
});

test("a run can be run again", async (t) => {
  const { page, server, app } = await setup(t, (create) => [create({ id: "twice" }, { event: "test/twice" }, async ({ event }) => event.data.n)]);
  await app.send({ name: "test/twice", data: { n: 3 } });
  const { run } = await runOf(server, "app-twice", (d) => d.run.status === "completed");
  await page.goto(`${server.url}/runs/${run.id}`);
  await page.getByRole("button", { name: "Rerun", exact: true }).click();
  await page.waitForURL((u) => /\/runs\//.test(u.pathname) && !u.pathname.endsWith(run.id));
  await page.locator(".sub").getByText("completed").waitFor();
  await page.getByRole("link", { name: "another run" }).click();
  await page.waitForURL((u) => u.pathname.endsWith(run.id));
  assert.equal((await server.runs()).length, 2);
});

test("a run can be run again from a step, with other input", async (t) => {
  const ran = [];
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "sum" }, { event: "test/sum" }, async ({ step }) => {
      const a = await step.run("first", () => { ran.push("first"); return 10; });
      const b = await step.run("add", (x, y) => { ran.push("add"); return x + y; }, a, 1);
      return await step.run("last", () => { ran.push("last"); return b * 2; });
    }),
  ]);
  await app.send({ name: "test/sum", data: {} });
  const { run } = await runOf(server, "app-sum", (d) => d.run.status === "completed");
  assert.equal(run.output, 22);
  await page.goto(`${server.url}/runs/${run.id}`);
  await page.getByRole("button", { name: /^add/ }).click();
  await page.getByRole("button", { name: "Rerun from this step…" }).click();
  const dialog = page.getByRole("dialog", { name: "Rerun from add" });
  await dialog.getByText("It keeps the results of first.").waitFor();
  const input = dialog.getByLabel("Input of the step");
  await input.fill('{"no": "list"}');
  await dialog.getByText("This must be a list").waitFor();
  assert.ok(await dialog.getByRole("button", { name: "Rerun" }).isDisabled());
  await input.fill("[10, 40]");
  await dialog.getByRole("button", { name: "Rerun" }).click();
  await page.waitForURL((u) => !u.pathname.endsWith(run.id));
  await page.getByRole("group", { name: "output of the run" }).getByText("100", { exact: true }).waitFor();
  assert.deepEqual(ran, ["first", "add", "last", "add", "last"]);
});

test("runs are paged by the server, and a page stays where it is while new ones come", async (t) => {
  const { page, server, app } = await setup(t, (create) => [create({ id: "quick" }, { event: "test/quick" }, async ({ event }) => event.data.i)]);
  await app.send(Array.from({ length: 70 }, (_, i) => ({ name: "test/quick", data: { i } })));
  await until("seventy ended runs", async () => (await server.runs("&status=completed")).length === 70);
  await page.goto(`${server.url}/runs?status=completed`);
  const rows = page.locator(".list tbody tr");
  await until("a full page", async () => (await rows.count()) === 50);
  await page.getByRole("link", { name: "Next page" }).click();
  await until("the rest", async () => (await rows.count()) === 20);
  const shown = () => rows.locator("a.row").evaluateAll((all) => all.map((a) => a.href));
  const before = await shown();
  const again = page.waitForResponse((r) => r.url().includes("before="));
  await app.send({ name: "test/quick", data: { i: 70 } });
  await again;
  await until("one more", async () => (await server.runs("&status=completed")).length === 71);
  assert.deepEqual(await shown(), before);
  await page.getByRole("link", { name: "First page" }).click();
  await until("the first page", async () => (await rows.count()) === 50);
});
