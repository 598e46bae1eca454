// Steps that the server does itself: protocol sections 11.5 (step.ai.infer) and 11.6 (step.fetch).
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { setup, sdk } from "../lib/inngest.mjs";

/** An HTTP service that answers with what answer(request, body) returns, and notes what it was asked. */
async function service(t, answer) {
  const asked = [];
  const http = createServer((req, res) => {
    let body = "";
    req.on("data", (b) => (body += b));
    req.on("end", () => {
      asked.push({ method: req.method, url: req.url, headers: req.headers, body });
      const a = answer(asked.length, body);
      if (!a) return req.socket.destroy();
      res.writeHead(a.status ?? 200, a.headers);
      res.end(a.body);
    });
  });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  t.after(() => { http.closeAllConnections(); http.close(); });
  return { asked, url: `http://127.0.0.1:${http.address().port}` };
}

test("fetch inside a function is made by the server, once, and its answer is remembered", async (t) => {
  const svc = await service(t, (n) => ({ status: 418, headers: { "x-answer": String(n), "content-type": "text/plain" }, body: `hello ${n}` }));
  const { server, app } = await setup(t, (create) => [
    create({ id: "fetcher" }, { event: "test/fetch" }, async ({ step }) => {
      const r = await sdk.core.fetch(`${svc.url}/path?q=1`, { method: "POST", headers: { "x-mine": "yes" }, body: "the body" });
      const out = { status: r.status, text: await r.text(), header: r.headers.get("x-answer") };
      await step.run("after", () => 1);
      return out;
    }),
  ]);
  await app.send({ name: "test/fetch", data: {} });
  const { run, steps } = await server.result("app-fetcher");
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.deepEqual(run.output, { status: 418, text: "hello 1", header: "1" });
  assert.equal(svc.asked.length, 1);
  const [{ method, url, headers, body }] = svc.asked;
  assert.deepEqual([method, url, headers["x-mine"], body], ["POST", "/path?q=1", "yes", "the body"]);
  assert.deepEqual(steps.map((s) => [s.type, s.state]), [["fetch", "done"], ["run", "done"]]);
  assert.deepEqual(steps[0].opts, { method: "POST", url: `${svc.url}/path` });
});

test("a fetch that finds nobody is tried again, and its last error can be caught", async (t) => {
  const svc = await service(t, (n) => (n < 3 ? undefined : { body: "there" }));
  const { server, app } = await setup(t, (create) => [
    create({ id: "stubborn", retries: 3 }, { event: "test/fetch" }, async () => (await sdk.core.fetch(svc.url)).text()),
    create({ id: "failing", retries: 0 }, { event: "test/fetch" }, async () => sdk.core.fetch("http://127.0.0.1:1/").catch((e) => `caught: ${e.message}`)),
  ]);
  await app.send({ name: "test/fetch", data: {} });
  const { run, attempts } = await server.result("app-stubborn");
  assert.equal(run.output, "there");
  assert.equal(attempts.length, 2);
  const failing = (await server.result("app-failing")).run;
  assert.match(failing.output, /^caught: .*refused/);
});

test("step.ai.infer asks the provider with the key, which is kept nowhere", async (t) => {
  const svc = await service(t, (n) => (n === 1
    ? { status: 429, headers: { "retry-after": "1" }, body: "slow down" }
    : { headers: { "content-type": "application/json" }, body: JSON.stringify({ choices: [{ message: { content: "42" } }] }) }));
  const { server, app } = await setup(t, (create) => [
    create({ id: "thinker" }, { event: "test/ai" }, async ({ step }) => {
      const answer = await step.ai.infer("ask", {
        model: step.ai.models.openai({ model: "gpt-4", apiKey: "sk-very-secret", baseUrl: `${svc.url}/v1/` }),
        body: { messages: [{ role: "user", content: "6 * 7?" }] },
      });
      return answer.choices[0].message.content;
    }),
  ]);
  await app.send({ name: "test/ai", data: {} });
  const detail = await server.result("app-thinker");
  assert.equal(detail.run.output, "42", JSON.stringify(detail.run));
  assert.equal(svc.asked.length, 2);
  const { url, headers, body } = svc.asked[1];
  assert.equal(url, "/v1/chat/completions");
  assert.equal(headers.authorization, "Bearer sk-very-secret");
  assert.deepEqual(JSON.parse(body).messages, [{ role: "user", content: "6 * 7?" }]);
  assert.equal(detail.attempts[0].httpStatus, 429);
  assert.ok(!JSON.stringify(detail).includes("sk-very-secret"), "the dashboard shows the key");
  assert.ok(!server.log().includes("sk-very-secret"), "the log shows the key");
});
