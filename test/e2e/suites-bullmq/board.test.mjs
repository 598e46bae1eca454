// Bull Board on Express: protocol section 8.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import express from "express";
import { onBoth, until } from "../lib/bullmq.mjs";

onBoth(test, "Bull Board shows and changes queues", async ({ t, queue, worker }) => {
  const mail = queue("mail");
  const other = queue("other");
  worker("mail", async (job) => {
    if (job.name === "bad") throw new Error("x");
  });
  const serverAdapter = new ExpressAdapter();
  serverAdapter.setBasePath("/admin");
  createBullBoard({ queues: [new BullMQAdapter(mail), new BullMQAdapter(other)], serverAdapter });
  const app = express();
  app.use("/admin", serverAdapter.getRouter());
  const http = app.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close());
  const api = async (method, path, body) => {
    const r = await fetch(`http://127.0.0.1:${http.address().port}/admin/api${path}`, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    assert.ok(r.status < 300, `${method} ${path}: ${r.status} ${await r.clone().text()}`);
    return r.status === 204 ? undefined : r.json().catch(() => undefined);
  };
  const bad = await mail.add("bad", { a: 1 });
  await mail.add("good", {});
  await other.add("later", {}, { delay: 60000 });
  await until("both to end", async () => (await mail.getJobCounts()).failed === 1 && (await mail.getJobCounts()).completed === 1);

  const { queues } = await api("GET", "/queues?activeQueue=mail&status=failed&page=1&jobsPerPage=10");
  const shown = queues.find((q) => q.name === "mail");
  assert.deepEqual([shown.counts.failed, shown.counts.completed, shown.jobs[0].failedReason], [1, 1, "x"]);
  assert.equal(queues.find((q) => q.name === "other").counts.delayed, 1);
  const stats = await api("GET", "/redis/stats");
  assert.ok(Object.values(stats).flatMap((v) => (typeof v === "object" ? Object.values(v) : [v])).every((v) => !Number.isNaN(v)), JSON.stringify(stats));

  await api("PUT", `/queues/mail/${bad.id}/retry`);
  await until("it to fail again", async () => (await mail.getJob(bad.id)).attemptsMade === 2 && (await mail.getJobCounts()).failed === 1);
  await api("PUT", "/queues/mail/pause");
  assert.equal(await mail.isPaused(), true);
  await api("PUT", "/queues/mail/resume");
  await api("PUT", "/queues/other/promote");
  await until("it to be promoted", async () => (await other.getJobCounts()).waiting === 1);
  await api("PUT", "/queues/other/empty");
  assert.equal(await other.count(), 0);
  await api("PUT", `/queues/mail/${bad.id}/clean`);
  assert.equal(await mail.getJob(bad.id), undefined);
});
