// A production server asks for its dashboard key, and shows nothing without it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { keys, setup } from "./lib/browser.mjs";

test("one logs in with the key, stays logged in and logs out", async (t) => {
  const { page, server, app } = await setup(t, (create) => [create({ id: "greet" }, { event: "demo/hello" }, async () => "hello")], { server: { mode: "serve" }, path: "/runs", expectErrors: [/401/] });
  await page.getByLabel("Dashboard key").waitFor();
  assert.equal(await page.getByText("Overview").count(), 0);
  await page.getByLabel("Dashboard key").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("this is not the dashboard key").waitFor();
  await page.getByLabel("Dashboard key").fill(keys.dashboard);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Runs" }).waitFor();

  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await app.send({ name: "demo/hello", data: {} });
  await page.getByRole("row", { name: /completed app-greet/ }).waitFor();
  const cookie = (await page.context().cookies()).find((c) => c.name === "quartet_session");
  assert.ok(cookie?.httpOnly);
  assert.equal(cookie.sameSite, "Strict");

  await page.reload();
  await page.getByRole("row", { name: /completed app-greet/ }).waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Dashboard key").waitFor();
  assert.equal((await fetch(`${server.url}/api/dashboard/runs`)).status, 401);
});

test("a session that ends while the page is open leads to the login", async (t) => {
  const { page, server } = await setup(t, undefined, { server: { mode: "serve" }, path: "/events", expectErrors: [/401/] });
  await page.getByLabel("Dashboard key").fill(keys.dashboard);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "Events" }).waitFor();
  await page.context().clearCookies();
  // The page may notice at any time from now on, and at the latest when it fetches what has changed.
  await server.post("/events", { name: "demo/news", data: {} });
  await page.getByLabel("Dashboard key").waitFor();
  assert.match(page.url(), /\/events$/, "the address is kept");
  await page.getByLabel("Dashboard key").fill(keys.dashboard);
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /demo\/news/ }).waitFor();
});
