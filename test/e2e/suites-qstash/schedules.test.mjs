// Schedules: protocol section 12.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, setup } from "../lib/qstash.mjs";
import { until } from "../lib/server.mjs";

test("a schedule can be read with all that was said about it", async (t) => {
  const { client, sink, raw } = await setup(t);
  const before = Date.now();
  const { scheduleId } = await client.schedules.create({
    destination: sink.url("/a?x=1"), cron: " 0 5 1 1 *  ", method: "PUT", body: '{"a":1}', headers: { "test-header": "test-value", "Upstash-Forward-bypass-tunnel-reminder": "client-test" },
    delay: "10s", retries: 0, retryDelay: "1000 * (1 + retried)", timeout: 30, callback: sink.url("/cb"), failureCallback: sink.url("/fail"), queueName: "q",
    flowControl: { key: "k", parallelism: 2, rate: 10, period: "1m" }, label: ["l1", "l2"],
  });
  assert.match(scheduleId, /^scd_\w+$/);
  const { createdAt, nextScheduleTime, ...s } = (await raw(`/v2/schedules/${scheduleId}`)).body;
  assert.ok(createdAt >= before && createdAt <= Date.now());
  const next = new Date(nextScheduleTime);
  assert.deepEqual([next.getUTCMonth(), next.getUTCDate(), next.getUTCHours(), next.getUTCMinutes(), nextScheduleTime % 60_000, nextScheduleTime > before], [0, 1, 5, 0, 0, true]);
  delete s.lastScheduleStates; // of no use before the first tick
  assert.deepEqual(s, {
    scheduleId, cron: "0 5 1 1 *", destination: sink.url("/a?x=1"), method: "PUT", isPaused: false, body: '{"a":1}', retries: 0, delay: 10, timeout: 30,
    header: { "Bypass-Tunnel-Reminder": ["client-test"], "Content-Type": ["application/json"], "Test-Header": ["test-value"] }, retryDelayExpression: "1000 * (1 + retried)",
    callback: sink.url("/cb"), failureCallback: sink.url("/fail"), callerIP: "127.0.0.1", queueName: "q", flowControlKey: "k", parallelism: 2, rate: 10, period: 60,
    label: "l1", labels: ["l1", "l2"],
  });
  assert.equal((await client.schedules.get(scheduleId)).ratePerSecond, 10);
  assert.deepEqual((await client.schedules.list()).map((x) => x.scheduleId), [scheduleId]);
});

test("schedules are replaced, paused, resumed and deleted", async (t) => {
  const { client, sink, raw, post } = await setup(t);
  const { schedules } = client;
  assert.deepEqual(await schedules.list(), []);
  const make = (more = {}) => schedules.create({ scheduleId: "-_mine.1", destination: sink.url("/a"), cron: "0 0 1 1 *", ...more });
  assert.deepEqual(await make({ body: "old", headers: { "x-old": "1" }, label: "old" }), { scheduleId: "-_mine.1" });
  const old = await schedules.get("-_mine.1");
  assert.deepEqual([old.body, old.retries, old.method], ["old", 3, "POST"]);
  await schedules.pause({ schedule: "-_mine.1" });
  assert.equal((await schedules.get("-_mine.1")).isPaused, true);
  await make({ cron: "*/10 * * * * ", destination: sink.url("/b") });
  const s = await schedules.get("-_mine.1");
  assert.deepEqual([s.body, s.header, s.label, s.cron, s.destination, s.isPaused, s.createdAt],
    [undefined, { "Content-Type": ["application/json"] }, undefined, "*/10 * * * *", sink.url("/b"), true, old.createdAt]);
  await schedules.resume({ schedule: "-_mine.1" });
  assert.equal((await schedules.get("-_mine.1")).isPaused, false);
  for (const [verb, paused] of [["pause", true], ["resume", false]]) {
    assert.equal((await post(`/v2/schedules/-_mine.1/${verb}`)).status, 200);
    assert.equal((await schedules.get("-_mine.1")).isPaused, paused);
  }
  assert.equal((await schedules.list()).length, 1);
  await schedules.delete("-_mine.1");
  await schedules.delete("-_mine.1");
  await assert.rejects(schedules.get("-_mine.1"), failure(404));
  assert.deepEqual(await schedules.list(), []);
  assert.equal((await raw("/v2/schedules/none/pause", { method: "PATCH" })).status, 404);

  const capital = await post(`/v2/Schedules/${sink.url("/c")}`, "", { "upstash-cron": "0 0 1 1 *" });
  assert.equal(capital.status, 200, "some clients write it so");
  const published = await post(`/v2/publish/${sink.url("/c")}`, "", { "upstash-cron": "0 0 1 1 *" });
  assert.equal((await schedules.get(published.body.scheduleId)).destination, sink.url("/c"));
  assert.equal((await post(`/v2/schedules/${sink.url("/c")}`)).status, 400, "without a cron");
});

test("a schedule has a time zone of its own", async (t) => {
  const { client, sink } = await setup(t);
  for (const [zone, hour] of [["Europe/Paris", 5], ["America/New_York", 23], ["Asia/Kolkata", 0]]) {
    const { scheduleId } = await client.schedules.create({ destination: sink.url("/a"), cron: `CRON_TZ=${zone} 30 ${hour} * * *` });
    const s = await client.schedules.get(scheduleId);
    assert.equal(s.cron, `CRON_TZ=${zone} 30 ${hour} * * *`);
    const local = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(s.nextScheduleTime);
    assert.equal(local, `${String(hour).padStart(2, "0")}:30`);
    assert.ok(s.nextScheduleTime > Date.now() && s.nextScheduleTime <= Date.now() + 25 * 3_600_000);
  }
});

test("a schedule makes its queue, and leaves one that is there as it is", async (t) => {
  const { client, sink } = await setup(t);
  await client.queue({ queueName: "old" }).upsert({ parallelism: 7 });
  for (const queueName of ["old", "new"]) await client.schedules.create({ destination: sink.url("/a"), cron: "0 0 1 1 *", queueName });
  assert.equal((await client.queue({ queueName: "old" }).get()).parallelism, 7);
  assert.equal((await client.queue({ queueName: "new" }).get()).parallelism, 1);
});

test("a redacted schedule does not show what it sends", async (t) => {
  const { client, sink, raw } = await setup(t);
  const { scheduleId } = await client.schedules.create({
    destination: sink.url("/a"), cron: "0 0 1 1 *", body: "the-secret", headers: { "x-key": "the-secret-key" }, redact: { body: true, header: true },
  });
  for (const path of [`/v2/schedules/${scheduleId}`, "/v2/schedules"]) {
    const { text } = await raw(path);
    assert.ok(text.includes("REDACTED:") && !text.includes("the-secret"), text);
  }
});

test("a tick delivers: to a URL, a group and through a queue, but not when it is paused", async (t) => {
  const { client, sink, delivered, log } = await setup(t);
  await client.urlGroups.addEndpoints({ name: "g", endpoints: [{ url: sink.url("/g1") }, { url: sink.url("/g2") }] });
  const create = (more) => client.schedules.create({ cron: "* * * * *", body: "tick", ...more }).then((s) => s.scheduleId);
  const paused = await create({ destination: sink.url("/paused") });
  await client.schedules.pause({ schedule: paused });
  const gone = await create({ destination: sink.url("/gone") });
  await client.schedules.delete(gone);
  const grouped = await create({ destination: "g" });
  const queued = await create({ destination: sink.url("/q"), queueName: "q" });
  const delayed = await create({ destination: sink.url("/delayed"), delay: "1h" });
  const url = await create({ destination: sink.url("/a"), method: "PUT", headers: { "x-a": "1", "content-type": "text/plain" }, label: "ticked" });
  const [r] = await sink.got("/a", 1, 90_000);
  assert.deepEqual([r.method, r.text, r.headers["x-a"], r.headers["content-type"], r.headers["upstash-schedule-id"]], ["PUT", "tick", "1", "text/plain", url]);
  assert.ok(r.at % 60_000 < 10_000, "at the beginning of a minute");
  const id = r.headers["upstash-message-id"];
  await delivered(id);
  const m = await client.messages.get(id);
  assert.deepEqual([m.scheduleId, m.label], [url, "ticked"]);
  assert.equal((await log(id))[0].scheduleId, url);
  const [q] = await sink.got("/q");
  assert.deepEqual([q.headers["upstash-queue-name"], q.headers["upstash-schedule-id"]], ["q", queued]);
  const s = await until("the schedule to know of it", async () => {
    const got = await client.schedules.get(url);
    return got.lastScheduleStates?.[id] === "SUCCESS" && got;
  });
  assert.equal(s.lastScheduleTime % 60_000, 0);
  assert.equal(s.nextScheduleTime, s.lastScheduleTime + 60_000);
  assert.equal((await client.logs({ filter: { scheduleId: url } })).logs.every((l) => l.messageId === id), true);
  await until("the delayed message", async () => (await client.messages.cancel({ filter: { scheduleId: delayed } })).cancelled === 1);
  assert.equal(sink.at("/paused").length + sink.at("/gone").length + sink.at("/delayed").length, 0);
  for (const path of ["/g1", "/g2"]) assert.equal((await sink.got(path))[0].headers["upstash-schedule-id"], grouped);
});
