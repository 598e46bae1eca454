// Bad days: a server that is away, payloads and runs that are far larger than usual, answers that are no answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runOf, settled, setup, until } from "./lib/browser.mjs";

const elements = (page) => page.evaluate(() => document.querySelectorAll("*").length);

test("a server that says nothing any more is noticed, and followed again when it is back", async (t) => {
  const { page, server } = await setup(t, undefined, { path: "/events", expectErrors: [/ERR_|503/] });
  await page.clock.install();
  await page.reload();
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  server.child.kill("SIGSTOP"); // its connections stay open
  try {
    await page.clock.fastForward(60_000);
    await page.getByRole("button", { name: /^Reconnecting/ }).waitFor();
    await page.getByText(/The server cannot be reached since \d\d:\d\d:\d\d\. What is shown is from before then/).waitFor();
  } finally {
    server.child.kill("SIGCONT");
  }
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await page.getByText("The server cannot be reached").waitFor({ state: "detached" });
  await server.post("/events", { name: "demo/after", data: {} });
  await page.getByRole("row", { name: /demo\/after/ }).waitFor();
});

test("an event with two megabytes of data is shown folded and fetched once", async (t) => {
  const { page, server, app } = await setup(t, (create) => [
    create({ id: "big" }, { event: "demo/big" }, async ({ step }) => {
      for (const name of ["one", "two"]) await step.waitForEvent(name, { event: `demo/${name}`, timeout: "1d" });
    }),
  ]);
  const lines = Array.from({ length: 20_000 }, (_, id) => ({ id, text: "x".repeat(60) }));
  const { ids } = await server.post("/events", { name: "demo/big", data: { lines, one: "y".repeat(300_000) } });
  const { run } = await runOf(server, "app-big", (d) => d.waiting.state === "waiting");
  const asked = [];
  page.on("request", (r) => r.url().includes(ids[0]) && !r.url().includes("payload=0") && !r.isNavigationRequest() && asked.push(r.url()));

  await page.goto(`${server.url}/events/${ids[0]}`);
  const data = page.getByRole("group", { name: "event data" });
  await data.getByText("20000 items").waitFor();
  assert.ok((await elements(page)) < 1000, `${await elements(page)} elements`);
  await data.getByRole("button", { name: "lines, 20000 items" }).click();
  await data.getByRole("button", { name: "19900 more" }).waitFor();
  await data.getByRole("button", { name: "299600 more characters" }).click();
  await data.getByRole("button", { name: "249600 more characters" }).waitFor();
  assert.ok((await elements(page)) < 5000, `${await elements(page)} elements`);

  // A run goes on while one looks, and its payload stays where it is.
  await page.goto(`${server.url}/runs/${run.id}`);
  await page.getByRole("group", { name: "data of demo/big" }).getByText("20000 items").waitFor();
  const before = asked.length;
  await page.getByText("waits for the event demo/one").waitFor();
  await app.send({ name: "demo/one", data: {} });
  await page.getByText("waits for the event demo/two").waitFor();
  await app.send({ name: "demo/two", data: {} });
  await page.locator(".sub").getByText("completed").waitFor();
  assert.equal(asked.length, before, `asked for the payload again: ${asked.slice(before)}`);
});

test("a run of a thousand steps can be read", async (t) => {
  const many = 1000;
  const { page, server, app } = await setup(t, (create, { NonRetriableError }) => [
    create({ id: "many", retries: 0 }, { event: "demo/many" }, async ({ step }) => {
      for (let i = 1; i < many; i++) await step.run(`row ${i}`, () => i);
      await step.run("the last one", () => { throw new NonRetriableError("row 1000 is broken"); });
    }),
  ]);
  await app.send({ name: "demo/many", data: {} });
  const { run } = await runOf(server, "app-many", (d) => d.run.status === "failed");
  await page.goto(`${server.url}/runs/${run.id}`);
  const rows = page.locator(".waterfall button.step-row");
  await page.getByRole("button", { name: "800 more steps" }).waitFor();
  assert.equal(await rows.count(), 200);

  // What failed is one click away, and not eight hundred rows.
  const why = page.getByRole("region", { name: "Why this run failed" });
  await why.getByText("row 1000 is broken", { exact: true }).waitFor();
  await why.getByRole("link", { name: "the last one" }).click();
  await page.getByRole("button", { name: "Rerun from this step…" }).waitFor();
  const last = page.getByRole("button", { name: /^the last one/ });
  await until("the step to be in view", () => last.evaluate((e) => e.getBoundingClientRect().top >= 0 && e.getBoundingClientRect().bottom <= innerHeight));
  assert.equal(await rows.count(), many);

  const filters = page.getByRole("navigation", { name: "Steps" });
  await filters.getByRole("link", { name: "With failures 1" }).click();
  await until("one step", async () => (await rows.count()) === 1);
  await filters.getByRole("link", { name: "Unfinished 0" }).click();
  await filters.getByRole("link", { name: "All 1000" }).click();
  await rows.first().focus();
  await page.keyboard.press("j");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^row 2/);
});

test("an answer that is a page of HTML is shown as text", async (t) => {
  const { page, server, app } = await setup(t, (create) => [create({ id: "proxied", retries: 0 }, { event: "demo/proxied" }, async () => "never called")]);
  const html = "<html><body><h1 id=\"smuggled\">502 Bad Gateway</h1><script>document.title = 'smuggled'</script><img src=x onerror=\"document.title='smuggled'\"></body></html>";
  app.intercept((req, res) => {
    if (req.method !== "POST") return false;
    res.writeHead(502, { "content-type": "text/html" }).end(html);
    return true;
  });
  await app.send({ name: "demo/proxied", data: {} });
  const { run } = await runOf(server, "app-proxied", (d) => d.run.endedAt);
  await page.goto(`${server.url}/runs/${run.id}`);
  await page.getByText(/The app answered HTTP 502/).first().click();
  await page.locator("pre.body").getByText(html, { exact: true }).waitFor();
  assert.equal(await page.locator("#smuggled").count(), 0);
  assert.match(await page.title(), /^failed: app-proxied/);
});

test("what an event's own words say is shown as text", async (t) => {
  const { page, server } = await setup(t);
  const name = "<b id=smuggled>demo</b>";
  const { ids } = await server.post("/events", { name, data: { "<i id=smuggled>": "<script>document.title = 'smuggled'</script>" } });
  await page.goto(`${server.url}/events/${ids[0]}`);
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await page.getByRole("group", { name: "event data" }).getByText("<i id=smuggled>").waitFor();
  await page.goto(`${server.url}/events`);
  await settled(page);
  await page.getByRole("link", { name }).waitFor();
  assert.equal(await page.locator("#smuggled").count(), 0);
});
