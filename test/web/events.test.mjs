// Events: sending, the live list, payloads and the runs they started.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gate } from "./lib/app.mjs";
import { later, settled, setup, until } from "./lib/browser.mjs";

const greet = (create) => [create({ id: "greet" }, { event: "demo/hello" }, async ({ event, step }) => step.run("say", () => `hello ${event.data.who}`))];

test("an event sent from the page shows with its payload and its run, live", async (t) => {
  const { page } = await setup(t, greet, { path: "/events" });
  await page.getByText("No events yet.").waitFor();
  await page.getByRole("button", { name: "Send event" }).first().click();
  const dialog = page.getByRole("dialog", { name: "Send an event" });
  await dialog.getByLabel("Name").fill("demo/hello");
  await dialog.getByLabel("Data").fill('{"who": "Ada", "big": 12345678901234567890, "list": [1, 2.50, null]}');
  await dialog.getByRole("button", { name: "Send", exact: true }).click();

  await page.getByRole("heading", { level: 1, name: "demo/hello" }).waitFor();
  assert.match(page.url(), /\/events\/[0-9A-Z]{26}$/);
  const data = page.getByRole("group", { name: "event data" });
  await data.getByText('"Ada"').waitFor();
  await data.getByText("12345678901234567890").waitFor(); // not rounded
  await data.getByText("2.50").waitFor();
  const runs = page.getByRole("region", { name: "Runs", exact: true });
  await runs.getByText("completed").waitFor();
  await runs.getByRole("link", { name: "app-greet" }).click();

  await page.getByRole("heading", { level: 1, name: "app-greet" }).waitFor();
  await page.getByRole("group", { name: "output of the run" }).getByText('"hello Ada"').waitFor();
  await page.goBack();
  await page.getByRole("link", { name: "Events" }).first().click();
  await page.getByRole("row", { name: /demo\/hello/ }).waitFor();
});

test("the lists follow what happens, and stop when they are paused", async (t) => {
  const { page, app, server } = await setup(t, greet, { path: "/events" });
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await app.send({ name: "demo/hello", data: { who: "one" } });
  await page.getByRole("row", { name: /demo\/hello.*app-greet/ }).waitFor();

  await page.getByRole("button", { name: /^Live/ }).click();
  await app.send({ name: "demo/later", data: {} });
  await page.getByRole("button", { name: /Paused, there is news/ }).waitFor();
  assert.equal(await page.getByText("demo/later").count(), 0);
  await page.getByRole("button", { name: /Paused/ }).click();
  await page.getByText("demo/later").waitFor();

  await page.getByRole("link", { name: "Runs" }).first().click();
  await page.getByRole("row", { name: /completed app-greet/ }).waitFor();
  await app.send({ name: "demo/hello", data: { who: "two" } });
  await until("two rows", async () => (await page.getByRole("row", { name: /completed app-greet/ }).count()) === 2);
  assert.equal((await server.runs()).length, 2);
});

test("an answer that was under way when the list was paused does not change it", async (t) => {
  const { page, server } = await setup(t, undefined, { path: "/events" });
  await page.getByText("No events yet.").waitFor();
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  const asked = gate();
  const held = gate();
  await page.route(/\/api\/dashboard\/events\?/, async (route) => {
    asked.open();
    await held.opened;
    await route.continue();
  });
  await server.post("/events", { name: "demo/late", data: {} });
  await asked.opened;
  await page.getByRole("button", { name: /^Live/ }).click();
  await page.getByRole("button", { name: /^Paused/ }).waitFor();
  held.open();
  await page.getByRole("button", { name: /Paused, there is news/ }).waitFor();
  assert.equal(await page.getByText("demo/late").count(), 0);
  await page.getByRole("button", { name: /Paused/ }).click();
  await page.getByText("demo/late").waitFor();
});

test("the stream is taken up again when the server comes back", async (t) => {
  const { page, server } = await setup(t, greet, { path: "/events", expectErrors: [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY|ERR_CONNECTION_RESET/, /503/] });
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await server.stop();
  await page.getByRole("button", { name: /^Reconnecting/ }).waitFor();
  const { startServer } = await import("../e2e/lib/server.mjs");
  const again = await startServer({ port: server.port, dir: server.dir });
  later(t, () => again.close());
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await again.post("/events", { name: "demo/after", data: {} });
  await page.getByRole("row", { name: /demo\/after/ }).waitFor();
});

test("an event that nobody listens to says so", async (t) => {
  const { page, server } = await setup(t, greet);
  const { ids } = await server.post("/events", { name: "demo/nobody", data: {} });
  await page.goto(`${server.url}/events/${ids[0]}`);
  await page.getByText("No registered function listens to").waitFor();
});

test("several events can be sent, and bad input is refused in the page", async (t) => {
  const { page, server } = await setup(t, greet, { path: "/events", expectErrors: [/400/] });
  await page.getByRole("button", { name: "Send event" }).first().click();
  const dialog = page.getByRole("dialog");
  const send = dialog.getByRole("button", { name: "Send", exact: true });
  await dialog.getByLabel("Name").fill("demo/x");
  await dialog.getByLabel("Data").fill("[1]");
  await dialog.getByText("This must be an object").waitFor();
  assert.ok(await send.isDisabled());
  await dialog.getByLabel("Data").fill("{");
  assert.ok(await send.isDisabled());
  await dialog.getByLabel("Data").fill("");
  await dialog.getByRole("button", { name: "Write the whole event" }).click();
  const whole = dialog.getByLabel("Event, or a list of events");
  await whole.fill('[{"name": ""}]');
  await send.click();
  await dialog.getByRole("alert").waitFor();
  await whole.fill('[{"name": "demo/a", "data": {}}, {"name": "demo/b", "data": {}, "id": "only-once"}]');
  await send.click();
  await page.getByRole("row", { name: /demo\/a/ }).waitFor();
  await page.getByRole("row", { name: /demo\/b/ }).click();
  await page.getByText("only-once").waitFor();
  assert.equal((await server.api("/events")).events.length, 2);
});

test("filters and pages live in the address", async (t) => {
  const { page, server } = await setup(t, greet);
  const many = Array.from({ length: 120 }, (_, i) => ({ name: i % 2 ? "demo/odd" : "demo/even", data: { i } }));
  await server.post("/events", many);
  await page.goto(`${server.url}/events`);
  await settled(page);
  const rows = page.locator(".list tbody tr");
  assert.equal(await rows.count(), 50);
  assert.equal(await page.getByRole("link", { name: "First page" }).count(), 0);
  const top = await rows.first().innerText();
  await page.getByRole("link", { name: "Next page" }).click();
  await page.getByRole("link", { name: "First page" }).waitFor();
  await until("the second page", async () => (await rows.first().innerText()) !== top);
  assert.match(page.url(), /before=/);
  await page.getByRole("link", { name: "Next page" }).click();
  await until("the last page", async () => (await rows.count()) === 20);
  await page.goBack();
  await until("the second page again", async () => (await rows.count()) === 50);

  await page.getByLabel("Event name").fill("demo/odd");
  await page.keyboard.press("Enter");
  await until("only odd ones", async () => (await page.getByText("demo/even").count()) === 0 && (await rows.count()) === 50);
  assert.match(page.url(), /name=demo%2Fodd/);
  assert.doesNotMatch(page.url(), /before=/);
  await page.reload();
  await settled(page);
  assert.equal(await page.getByLabel("Event name").inputValue(), "demo/odd");
  assert.equal(await page.getByText("demo/even").count(), 0);

  await page.goto(`${server.url}/runs`);
  await settled(page);
  await page.getByRole("navigation", { name: "Status" }).getByRole("link", { name: "failed" }).click();
  await page.getByText("No run fits these filters.").waitFor();
  assert.match(page.url(), /status=failed/);
});
