// Opens the dashboard in a real browser and notes everything that should not happen there.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";
import { chromium } from "playwright-core";
import { keys, startServer, until } from "../../e2e/lib/server.mjs";
import { startApp } from "./app.mjs";

export { keys, until };

const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((p) => p && existsSync(p));

let browser;

/** One browser for the tests of a file; each test has a context of its own. */
async function theBrowser() {
  assert.ok(executablePath, "no chromium, chromium-browser or google-chrome in /usr/bin");
  browser ??= chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  return browser;
}
after(async () => (await browser)?.close());

const undo = new WeakMap();

/**
 * Does something when the test ends: the last thing first, and all of it whatever fails. The runner's own hooks go the
 * other way round, which would take the server from under an open page, and stop at the first that fails, which would
 * leave a server running.
 */
export function later(t, fn) {
  if (!undo.has(t)) {
    const stack = [];
    undo.set(t, stack);
    t.after(async () => {
      const errors = [];
      while (stack.length) {
        try {
          await stack.pop()();
        } catch (err) {
          errors.push(err);
        }
      }
      if (errors.length) throw errors.length === 1 ? errors[0] : new AggregateError(errors, errors.map((e) => e.message).join("\n"));
    });
  }
  undo.get(t).push(fn);
}

/** A page of the dashboard. It fails the test if it asks another origin for anything, logs an error or throws. */
export async function openPage(t, server, { width = 1280, height = 860, scheme = "light", path = "/", expectErrors = [] } = {}) {
  const context = await (await theBrowser()).newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const wrong = [];
  page.on("request", (r) => {
    if (new URL(r.url()).origin !== server.url && !r.url().startsWith("data:") && !r.url().startsWith("blob:")) wrong.push(`request to ${r.url()}`);
  });
  page.on("pageerror", (e) => wrong.push(`exception: ${e.stack}`));
  page.on("console", (m) => m.type() === "error" && !expectErrors.some((re) => re.test(m.text())) && wrong.push(`console: ${m.text()}`));
  later(t, async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  await page.goto(server.url + path);
  return page;
}

/** A server, an app on it and a page; all closed when the test ends. */
export async function setup(t, define, { server: so = {}, app: ao = {}, ...po } = {}) {
  const server = await startServer(so);
  later(t, () => server.close());
  const app = define ? await startApp(server, define, ao) : undefined;
  if (app) later(t, () => app.close());
  const page = await openPage(t, server, po);
  return { server, app, page };
}

/** Waits until everything that is being loaded has been shown. */
export async function settled(page) {
  await page.locator("h1").waitFor();
  await page.waitForFunction(() => !document.querySelector(".skeleton"));
}

/** The run of a function once it is in a state that probe accepts. */
export const runOf = (server, fn, probe = () => true) =>
  until(`a run of ${fn}`, async () => {
    for (const r of await server.runs(`&function=${fn}`)) {
      const d = await server.run(r.id);
      if (probe(d)) return d;
    }
  });

/** Fails unless nothing on the page is wider than the window. */
export async function fitsWidth(page, what) {
  const { over, who } = await page.evaluate(() => {
    const w = document.documentElement.clientWidth;
    const inside = (e) => e.closest(".menu, pre, .unseen") || !e.checkVisibility();
    const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > w + 1 && !inside(e));
    return { over: document.documentElement.scrollWidth - w, who: wide.slice(0, 5).map((e) => `${e.tagName}.${e.className}`) };
  });
  assert.equal(over, 0, `${what} is ${over} px too wide: ${who.join(", ")}`);
}

let axe;

/** Fails on accessibility problems that axe calls serious or critical. */
export async function accessible(page, what) {
  axe ??= readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(bad.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`), [], what);
}
