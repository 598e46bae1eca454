// What a run told while it executed: the trace on its page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, fitsWidth, later, openPage, until } from "./lib/browser.mjs";
import { startServer } from "../e2e/lib/server.mjs";

const ms = (n) => `${n}000000`;
const value = (v) => (typeof v === "boolean" ? { boolValue: v } : typeof v === "number" ? { intValue: v } : { stringValue: v });
const attributes = (o) => Object.entries(o).map(([key, v]) => ({ key, value: value(v) }));

test("a run's trace is a tree that follows the run, with logs, errors and attributes", async (t) => {
  const server = await startServer();
  later(t, () => server.close());
  const ask = async (path, body) => {
    const r = await fetch(server.url + path, { method: "POST", headers: { authorization: "Bearer tr_dev_quartet", "content-type": "application/json" }, body: JSON.stringify(body) });
    assert.equal(r.status, 200, path);
    return r.json();
  };
  const { id } = await ask("/api/v1/tasks/import-csv/trigger", { payload: { rows: 2 }, options: { tags: ["customer_7", "nightly"], metadata: { progress: { done: 1 } } } });
  const from = Date.now();
  const own = { "$metadata.ctx.run.id": id, "$metadata.ctx.attempt.number": 1 };
  const resource = { attributes: attributes({ $trigger: true }) };
  const tell = (...spans) => ask("/otel/v1/traces", { resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
  const span = (spanId, parentSpanId, name, start, end, more = {}, rest = {}) => ({
    traceId: "5b8efff798038103d269b633813fc60c", spanId, parentSpanId, name, startTimeUnixNano: ms(from + start), endTimeUnixNano: ms(from + end), attributes: attributes({ ...own, ...more }), ...rest,
  });
  const partial = (real, parent, name, start) => span("00000000000000ff", parent, name, start, start, { "$span.partial": true, "$span.span_id": real });
  await tell(partial("00000000000000a1", "00000000000000a0", "Attempt 1", 0), partial("00000000000000a2", "00000000000000a1", "run()", 1));

  const page = await openPage(t, server, { path: `/runs/${id.slice("run_".length).toUpperCase()}` });
  const trace = page.getByRole("region", { name: "Trace" });
  const row = (name) => trace.locator(".span", { has: page.getByText(name, { exact: true }) });
  await row("run()").locator(".seg.working").waitFor();
  await page.getByText("customer_7", { exact: true }).waitFor();
  await page.getByRole("group", { name: "metadata of the run" }).getByText("progress").waitFor();

  // What is told later appears by itself.
  await tell(span("00000000000000a3", "00000000000000a2", "parse rows", 5, 40, { file: "a.csv", "rows.[0].id": 7 }, {
    status: { code: 2, message: "row 2 is broken" }, events: [{ name: "exception", timeUnixNano: ms(from + 39), attributes: attributes({ "exception.type": "TypeError", "exception.message": "row 2 is broken", "exception.stacktrace": "TypeError: row 2\n    at parse" }) }],
  }));
  await ask("/otel/v1/logs", { resourceLogs: [{ resource, scopeLogs: [{ logRecords: [
    { timeUnixNano: ms(from + 20), severityText: "warn", body: { stringValue: "row 2 looks odd" }, spanId: "00000000000000a3", attributes: attributes({ ...own, row: 2 }) },
  ] }] }] });
  await row("row 2 looks odd").getByText("warn", { exact: true }).waitFor();
  await row("parse rows").getByText("failed", { exact: true }).waitFor();
  assert.deepEqual(await trace.locator(".step-title").allInnerTexts(), ["Attempt 1", "run()", "parse rows", "row 2 looks odd"]);
  const indent = (name) => row(name).locator(".step-name").evaluate((e) => parseInt(getComputedStyle(e).paddingLeft));
  assert.ok((await indent("run()")) < (await indent("parse rows")) && (await indent("parse rows")) < (await indent("row 2 looks odd")));

  await row("parse rows").getByRole("button", { name: /^parse rows/ }).click();
  const details = row("parse rows").locator(".step-details");
  await details.getByRole("group", { name: "attributes of parse rows" }).getByText('"a.csv"').waitFor();
  await details.getByText("TypeError", { exact: true }).waitFor();
  await until("the address to name the span", () => /span=00000000000000a3/.test(page.url()));
  await accessible(page, "a trace with an open span");
  await row("parse rows").getByRole("button", { name: "Fold parse rows" }).click();
  await row("parse rows").getByText("1 inside").waitFor();
  assert.equal(await row("row 2 looks odd").count(), 0);
  await trace.getByText("Log", { exact: false }).first().click();
  await row("row 2 looks odd").waitFor();
  assert.equal(await row("run()").count(), 0);
  await trace.getByText("All", { exact: false }).first().click();

  // The end of the run ends what is open.
  await ask(`/api/v2/runs/${id}/cancel`);
  await row("run()").getByText("cancelled", { exact: true }).waitFor();
  await page.setViewportSize({ width: 400, height: 800 });
  await fitsWidth(page, "a trace on a phone");
});
