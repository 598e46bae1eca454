// Functions and apps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startApp } from "./lib/app.mjs";
import { later, runOf, setup, until } from "./lib/browser.mjs";

const define = (create) => [
  create({ id: "mail", name: "Send mail", retries: 1, concurrency: [{ limit: 3, key: "event.data.to" }], throttle: { limit: 10, period: "1m" }, cancelOn: [{ event: "mail/stop" }] }, { event: "mail/send", if: "event.data.to != ''" },
    async ({ event }) => event.data.to),
  create({ id: "nightly", name: "Nightly" }, { cron: "TZ=Europe/Berlin 0 3 * * *" }, async () => "done"),
];

test("a function shows its triggers and its settings in words", async (t) => {
  const { page } = await setup(t, define, { path: "/functions" });
  await page.getByRole("row", { name: /Nightly.*cron TZ=Europe\/Berlin 0 3 \* \* \*/ }).waitFor();
  await page.getByRole("link", { name: "Send mail" }).click();
  await page.getByRole("heading", { level: 1, name: "Send mail" }).waitFor();
  for (const text of ["At most 3 calls at a time for each value of event.data.to.", "Starts are spread out: 10 starts per 1 min.", "Up to 2 attempts of each step.", "By mail/stop."]) {
    await page.getByText(text).waitFor();
  }
  await page.getByText("event.data.to != ''").waitFor();
});

test("a function can be paused, resumed and invoked", async (t) => {
  const { page, server, app } = await setup(t, define, { path: "/functions/app-mail" });
  await page.getByRole("button", { name: "Pause function" }).click();
  await page.getByRole("button", { name: "Resume function" }).waitFor();
  await app.send({ name: "mail/send", data: { to: "a" } });
  await page.getByRole("row", { name: /skipped/ }).waitFor();
  await page.getByRole("link", { name: "Overview" }).first().click();
  await page.getByText("Send mail is paused.").waitFor().catch(async () => page.getByText("is paused").waitFor());
  await page.goto(`${server.url}/functions/app-mail`);
  await page.getByRole("button", { name: "Resume function" }).click();
  await page.getByRole("button", { name: "Pause function" }).waitFor();

  await page.getByRole("button", { name: "Invoke…" }).click();
  const dialog = page.getByRole("dialog", { name: "Invoke Send mail" });
  await dialog.getByLabel("Data").fill('{"to": "b@example.test"}');
  await dialog.getByRole("button", { name: "Invoke" }).click();
  await page.getByRole("region", { name: "Runs", exact: true }).getByText("completed").waitFor();
  const { run } = await runOf(server, "app-mail", (d) => d.run.status === "completed");
  assert.equal(run.output, "b@example.test");
});

test("an app can be added by its URL, asked again and removed", async (t) => {
  const { page, server } = await setup(t, undefined, { path: "/apps", expectErrors: [/422/] });
  const app = await startApp(server, define, { register: false });
  later(t, () => app.close());
  await page.getByText("No app is connected yet.").waitFor();
  await page.getByText(`INNGEST_DEV=${server.url}`).waitFor();
  await page.getByRole("button", { name: "Add app…" }).first().click();
  const dialog = page.getByRole("dialog", { name: "Add an app" });
  await dialog.getByLabel("URL").fill("http://127.0.0.1:9/nothing");
  await dialog.getByRole("button", { name: "Add" }).click();
  await dialog.getByRole("alert").waitFor();
  await dialog.getByLabel("URL").fill(app.url);
  await dialog.getByRole("button", { name: "Add" }).click();
  const card = page.getByRole("region", { name: "app", exact: true });
  await card.getByText("connected", { exact: true }).waitFor();
  await card.getByText(/js:v4/).waitFor();
  assert.equal((await server.api("/functions")).functions.length, 2);

  await card.getByRole("button", { name: "Resync" }).click();
  await page.getByText("app registered its functions again.").waitFor();
  await app.close();
  await card.getByRole("button", { name: "Resync" }).click();
  await page.locator(".toast.bad").waitFor();

  await card.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("dialog", { name: "Remove app?" }).getByRole("button", { name: "Remove" }).click();
  await page.getByText("No app is connected yet.").waitFor();
  assert.equal((await server.api("/apps")).apps.length, 0);
});

test("functions and apps are paged by the server", async (t) => {
  const { page, server } = await setup(t, (create) => Array.from({ length: 60 }, (_, i) => create({ id: `f-${String(i).padStart(2, "0")}` }, { event: "x/y" }, async () => i)), { path: "/functions" });
  const rows = page.locator(".list tbody tr");
  await until("a full page", async () => (await rows.count()) === 50);
  await page.getByRole("link", { name: "Next page" }).click();
  await until("the rest", async () => (await rows.count()) === 10);
  await page.getByRole("row", { name: /app-f-59/ }).waitFor();
  const first = await server.api("/functions?limit=7");
  assert.equal(first.next, "app-f-06");
  assert.equal((await server.api("/functions?limit=7&after=app-f-06")).functions[0].slug, "app-f-07");
  assert.equal((await server.api("/apps?limit=1")).next, "app");
  assert.deepEqual((await server.api("/apps?after=app")).apps, []);
});
