// Every page at both widths and in both colours: it fits, it shows something, and it is accessible.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startApp } from "./lib/app.mjs";
import { accessible, fitsWidth, later, openPage, runOf, settled } from "./lib/browser.mjs";
import { startServer } from "../e2e/lib/server.mjs";

/** The number of colours and the mean brightness of what is shown. */
async function look(page) {
  const png = (await page.screenshot()).toString("base64");
  return page.evaluate(async (src) => {
    const img = new Image();
    img.src = `data:image/png;base64,${src}`;
    await img.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: img.width, height: img.height });
    const ctx = canvas.getContext("2d");
    ctx.drawImage(img, 0, 0);
    const { data } = ctx.getImageData(0, 0, img.width, img.height);
    const colours = new Set();
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) {
      colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
      sum += data[i] + data[i + 1] + data[i + 2];
    }
    return { colours: colours.size, brightness: sum / (data.length / 4) / 3 };
  }, png);
}

async function world(t) {
  const server = await startServer({ args: ["--retry=1h"] });
  later(t, () => server.close());
  const app = await startApp(server, (create, { NonRetriableError }) => [
    create({ id: "a-function-with-quite-a-long-name-that-does-not-fit-anywhere", concurrency: [{ limit: 2, key: "event.data.some.deeply.nested.customer.identifier" }] }, { event: "shop/order.created.with.a.long.name" }, async ({ step }) => {
      const a = await step.run("a step whose name is a whole sentence and more", () => ({ text: "x".repeat(900), list: [1, { b: null }] }));
      await step.waitForEvent("answer", { event: "shop/order.answered", timeout: "30d", if: "async.data.customer.identifier == event.data.customer.identifier" });
      return a;
    }),
    create({ id: "retrying" }, { event: "test/retrying" }, async ({ step }) => {
      await step.run("push", () => { throw new TypeError(`no_${"long".repeat(60)}`); });
    }),
    create({ id: "failing", retries: 0 }, { event: "test/failing" }, async ({ step }) => {
      await step.run("parse", () => { throw new NonRetriableError("bad row", { cause: new Error("inner") }); });
    }),
    create({ id: "done" }, { event: "test/done" }, async ({ step }) => ({ a: await step.run("one", () => 1), id: "x" })),
    create({ id: "sleeping" }, { event: "test/sleeping" }, async ({ step }) => { await step.run("before", () => 1); await step.sleep("nap", "9d"); }),
  ]);
  later(t, () => app.close());
  await app.send(["shop/order.created.with.a.long.name", "test/retrying", "test/failing", "test/done", "test/sleeping", "nobody/listens"].map((name) => ({ name, data: { customer: { identifier: "y".repeat(120) }, n: 1 } })));
  const waits = (d) => d.waiting.state === "waiting";
  const long = await runOf(server, "app-a-function-with-quite-a-long-name-that-does-not-fit-anywhere", waits);
  const retrying = await runOf(server, "app-retrying", (d) => d.waiting.state === "retrying");
  const failing = await runOf(server, "app-failing", (d) => d.run.endedAt);
  const done = await runOf(server, "app-done", (d) => d.run.endedAt);
  const sleeping = await runOf(server, "app-sleeping", waits);
  await server.post("/functions/app-done/pause");
  return {
    server,
    pages: {
      overview: "/", events: "/events?internal=1", event: `/events/${long.events[0].id}`, runs: "/runs", functions: "/functions", function: `/functions/${long.run.function}`, apps: "/apps",
      "waiting run": `/runs/${long.run.id}?step=${long.steps[0].id}`, "retrying run": `/runs/${retrying.run.id}?step=${retrying.steps[0].id}`, "failed run": `/runs/${failing.run.id}?step=${failing.steps[0].id}`,
      "completed run": `/runs/${done.run.id}?step=${done.steps[0].id}`, "sleeping run": `/runs/${sleeping.run.id}`, "missing run": "/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "missing page": "/no/such/page",
    },
  };
}

test("every page fits, is not empty and is accessible", async (t) => {
  const { server, pages } = await world(t);
  for (const width of [400, 1280]) {
    for (const scheme of ["light", "dark"]) {
      await t.test(`${width} px, ${scheme}`, async (t) => {
        const page = await openPage(t, server, { width, scheme, expectErrors: [/404/] });
        for (const [name, path] of Object.entries(pages)) {
          const what = `${name} at ${width} px, ${scheme}`;
          await page.goto(server.url + path);
          await settled(page);
          for (const summary of await page.locator("summary").all()) await summary.click();
          await fitsWidth(page, what);
          await accessible(page, what);
          if (name !== "missing page") await page.getByRole("button", { name: "Live Pause" }).waitFor(); // every view can be stopped
          const { colours, brightness } = await look(page);
          assert.ok(colours > 20, `${what} has ${colours} colours`);
          assert.ok(scheme === "dark" ? brightness < 90 : brightness > 180, `${what} has the brightness ${brightness}`);
        }
        await page.goto(`${server.url}/events`);
        await settled(page);
        await page.getByRole("button", { name: "Send event" }).first().click();
        await page.getByRole("dialog").waitFor();
        await fitsWidth(page, `dialog at ${width} px`);
        await accessible(page, `dialog at ${width} px, ${scheme}`);
      });
    }
  }
});

test("the colours can be chosen, and the choice lasts", async (t) => {
  const { server } = await world(t);
  const page = await openPage(t, server, { scheme: "light" });
  await settled(page);
  const bg = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await bg();
  await page.getByTitle("Change the colours").click(); // light
  assert.equal(await bg(), light);
  await page.getByTitle("Change the colours").click(); // dark
  const dark = await bg();
  assert.notEqual(dark, light);
  await page.reload();
  await settled(page);
  assert.equal(await bg(), dark);
});

test("the first load is small and compressed, and its files may be cached for ever", async (t) => {
  const server = await startServer();
  later(t, () => server.close());
  const html = await (await fetch(server.url)).text();
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)/, "no inline script");
  let total = html.length;
  for (const [, path] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    for (const encoding of ["br", "gzip"]) {
      const r = await fetch(server.url + path, { headers: { "accept-encoding": encoding } });
      assert.equal(r.status, 200, path);
      if (!path.startsWith("/assets/")) continue;
      assert.equal(r.headers.get("content-encoding"), encoding, path);
      assert.match(r.headers.get("cache-control"), /immutable/);
      if (encoding === "gzip") total += Number(r.headers.get("content-length"));
      await r.arrayBuffer();
    }
  }
  assert.ok(total < 150_000, `${total} bytes`);
});
