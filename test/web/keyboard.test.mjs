// The main flows with no pointer at all.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runOf, setup, settled, until } from "./lib/browser.mjs";

const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");

/** Presses Tab until the element that has the focus fits. */
async function tabTo(page, text) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    if (text.test(await focused(page))) return;
  }
  assert.fail(`Tab never reached ${text}`);
}

test("send an event, open its run, open a step, rerun from it and cancel, all by keyboard", async (t) => {
  const { page, server } = await setup(t, (create) => [
    create({ id: "keys" }, { event: "demo/keys" }, async ({ step }) => {
      await step.run("work", () => "ok");
      await step.sleep("rest", "1d");
    }),
  ]);
  await settled(page);
  await page.keyboard.press("s");
  await page.getByRole("dialog", { name: "Send an event" }).waitFor();
  await page.keyboard.type("demo/keys");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("heading", { level: 1, name: "demo/keys" }).waitFor();
  await page.getByRole("row", { name: /app-keys/ }).waitFor();

  await page.keyboard.press("j");
  assert.equal(await focused(page), "app-keys");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "app-keys" }).waitFor();
  const first = page.url();
  await page.getByText("sleeping").first().waitFor();

  await page.keyboard.press("j");
  assert.match(await focused(page), /^work/);
  await page.keyboard.press("Enter");
  await page.getByRole("group", { name: "output of work" }).waitFor();
  await tabTo(page, /^Rerun from this step/);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Rerun from work" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.match(await focused(page), /^Rerun from this step/, "the focus returns to where the dialog was opened");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Control+Enter");
  await page.waitForURL((u) => String(u) !== first && !u.search);
  await page.getByText("sleeping").first().waitFor();

  await tabTo(page, /^Cancel…/);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Cancel this run?" }).waitFor();
  await tabTo(page, /^Cancel the run/);
  await page.keyboard.press("Enter");
  await page.locator(".sub").getByText("cancelled").waitFor();
  await runOf(server, "app-keys", (d) => d.run.status === "cancelled");
});

test("pause, resume and invoke a function by keyboard", async (t) => {
  const { page, server } = await setup(t, (create) => [create({ id: "keys", name: "Keys" }, { event: "demo/keys" }, async ({ event }) => event.data.n)], { path: "/functions", width: 400 });
  await page.getByRole("row", { name: /Keys/ }).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Keys" }).waitFor();
  await page.getByRole("button", { name: "Pause function" }).waitFor();
  await tabTo(page, /^Pause function/);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Resume function" }).waitFor();
  assert.match(await focused(page), /^Resume function/, "the focus stays on what was pressed");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Pause function" }).waitFor();
  await page.keyboard.press("Shift+Tab");
  assert.match(await focused(page), /^Invoke…/);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Invoke Keys" }).waitFor();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type('{"n": 12}');
  await page.keyboard.press("Control+Enter");
  await page.getByRole("heading", { level: 1, name: "inngest/function.invoked" }).waitFor();
  const { run } = await runOf(server, "app-keys", (d) => d.run.status === "completed");
  assert.equal(run.output, 12);
});

test("G and a letter goes to a page, / to the filter, P pauses, N turns the page, ? helps", async (t) => {
  const { page, server } = await setup(t, undefined);
  await server.post("/events", Array.from({ length: 60 }, (_, i) => ({ name: `demo/n${i}`, data: {} })));
  await settled(page);
  for (const [key, name] of [["e", "Events"], ["r", "Runs"], ["f", "Functions"], ["a", "Apps"], ["o", "Overview"], ["e", "Events"]]) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
    await until("the heading of the new page has the focus", async () => (await focused(page)) === name);
  }
  await settled(page);
  await page.keyboard.press("n");
  await page.getByRole("link", { name: "First page" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("demo/n3");
  await page.keyboard.press("Enter");
  await until("one row", async () => (await page.locator(".list tbody tr").count()) === 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("p");
  await page.getByRole("button", { name: /^Paused/ }).waitFor();
  await page.keyboard.press("p");
  await page.getByRole("button", { name: /^Live/ }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.goto(server.url);
  await settled(page);
  await page.locator("body").press("Tab");
});
