// Flows, job schedulers, events: protocol sections 6.13 to 6.16.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsOf, onBoth, until } from "../lib/bullmq.mjs";

onBoth(test, "a tree over several queues", async ({ queue, worker, events, flows, client }) => {
  queue("parents");
  const qe = await events("parents");
  worker("kids", async (job) => `${job.name}!`);
  worker("grandkids", async (job) => job.data.n * 2);
  worker("parents", async (job) => Object.values(await job.getChildrenValues()).sort());
  const tree = await flows().add({
    name: "p", queueName: "parents", data: {}, opts: { jobId: "par" },
    children: [
      { name: "a", queueName: "kids" },
      { name: "b", queueName: "kids", children: [{ name: "c", queueName: "grandkids", data: { n: 21 } }] },
    ],
  });
  assert.deepEqual(await tree.job.waitUntilFinished(qe, 10000), ["a!", "b!"]);
  assert.deepEqual((await eventsOf(client(), "parents", "jobId", "prev")).filter((e) => e.startsWith("wait")), ["waiting-children par", "waiting par waiting-children"]);
  const flow = await flows().getFlow({ id: "par", queueName: "parents" });
  assert.deepEqual(flow.children.map((c) => c.job.name).sort(), ["a", "b"]);
});

onBoth(test, "the four things that a failed child can do to its parent", async ({ queue, worker, flows }) => {
  const parents = queue("p");
  worker("c", async () => {
    throw new Error("sick");
  });
  worker("p", async (job) => ({ ignored: Object.values((await job.getFailedChildrenValues?.()) ?? (await job.getIgnoredChildrenFailures?.()) ?? {}) }));
  const add = async (name, opts) => (await flows().add({ name, queueName: "p", children: [{ name: "x", queueName: "c", opts }] })).job;
  const fails = await add("fails", { failParentOnFailure: true });
  const ignores = await add("ignores", { ignoreDependencyOnFailure: true });
  const removes = await add("removes", { removeDependencyOnFailure: true });
  const nothing = await add("nothing", {});
  await until("three of them to end", async () => {
    const states = await Promise.all([fails, ignores, removes].map((j) => j.getState()));
    return states.join(" ") === "failed completed completed";
  });
  assert.match((await parents.getJob(fails.id)).failedReason, /^child bull:c:.* failed$/);
  assert.equal(await nothing.getState(), "waiting-children");
});

onBoth(test, "many flows at once", async ({ queue, worker, flows }) => {
  const parents = queue("p");
  worker("c", async (job) => job.data.i, { concurrency: 20 });
  worker("p", async (job) => Object.values(await job.getChildrenValues()).length, { concurrency: 20 });
  await flows().addBulk(Array.from({ length: 50 }, (_, i) => ({
    name: "p", queueName: "p", data: { i }, children: Array.from({ length: 5 }, (_, k) => ({ name: "c", queueName: "c", data: { i: i * 5 + k } })),
  })));
  await until("all parents", async () => (await parents.getJobCounts()).completed === 50);
  const done = await parents.getCompleted(0, 100);
  assert.ok(done.every((j) => j.returnvalue === 5));
});

onBoth(test, "removing a parent removes its children, to any depth", async ({ queue, flows, client }) => {
  const q = queue("deep");
  let node = { name: "leaf", queueName: "deep" };
  for (let i = 0; i < 120; i++) node = { name: `n${i}`, queueName: "deep", children: [node] };
  const { job } = await flows().add(node);
  assert.equal(await q.getJobCountByTypes("waiting-children"), 120);
  await job.remove({ removeChildren: true });
  assert.deepEqual(await client().keys("bull:deep:[0-9a-f]*-*"), []);
});

onBoth(test, "children that a job adds while it runs", async ({ queue, worker, events, mq }) => {
  const q = queue("dyn");
  const kids = queue("dynkids");
  const qe = await events("dyn");
  worker("dynkids", async (job) => job.data.n + 1);
  worker("dyn", async (job, token) => {
    if (!job.data.added) {
      await kids.add("k", { n: 1 }, { parent: { id: job.id, queue: job.queueQualifiedName } });
      await job.updateData({ added: true });
      if (await job.moveToWaitingChildren(token)) throw new mq.WaitingChildrenError();
    }
    return Object.values(await job.getChildrenValues());
  });
  const job = await q.add("n", {});
  assert.deepEqual(await job.waitUntilFinished(qe, 10000), [2]);
});

onBoth(test, "job schedulers run in time, change and stop", async ({ queue, worker }) => {
  const q = queue("tick");
  const ids = [];
  worker("tick", async (job) => void ids.push(job.id));
  await q.upsertJobScheduler("tick", { every: 200 }, { name: "t", data: { q: 1 } });
  await until("five runs", () => ids.length >= 5);
  const times = ids.map((id) => Number(id.replace("repeat:tick:", "")));
  for (let i = 1; i < times.length; i++) assert.equal(times[i] - times[i - 1], 200);
  await q.upsertJobScheduler("tick", { pattern: "0 0 1 1 *", tz: "Europe/Berlin" }, { name: "t" });
  const [s] = await q.getJobSchedulers();
  assert.deepEqual([s.key, s.pattern, s.tz], ["tick", "0 0 1 1 *", "Europe/Berlin"]);
  assert.equal(await q.getJobSchedulersCount(), 1);
  assert.equal(await q.removeJobScheduler("tick"), true);
  assert.equal(await q.removeJobScheduler("tick"), false);
  assert.equal((await q.getJobCounts("delayed")).delayed, 0);
});

onBoth(test, "events: custom ones, trimming and going on from an id", async ({ queue, events, mq, connection, redis, client }) => {
  const q = queue("ev");
  const qe = await events("ev");
  const seen = [];
  qe.on("mine", (e, id) => seen.push([e.x, id]));
  const producer = new mq.QueueEventsProducer("ev", { connection });
  redis.defer(() => producer.close());
  await producer.publishEvent({ eventName: "mine", x: "1" });
  await producer.publishEvent({ eventName: "mine", x: "2" });
  await until("both", () => seen.length === 2);
  await qe.close();
  await producer.publishEvent({ eventName: "mine", x: "3" });
  const later = [];
  const again = new mq.QueueEvents("ev", { connection, lastEventId: seen[1][1] });
  redis.defer(() => again.close());
  again.on("mine", (e) => later.push(e.x));
  await until("what was missed", () => later.length === 1);
  assert.deepEqual(later, ["3"]);
  await q.trimEvents(0);
  assert.equal(await client().xlen("bull:ev:events"), 0);
});
