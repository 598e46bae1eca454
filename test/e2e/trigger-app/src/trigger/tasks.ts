// The tasks of the suite, each for one thing that it looks at.
import { concurrencyLimit, logger, metadata, queue, schedules, tags, task, wait } from "@trigger.dev/sdk";

export const hello = task({
  id: "hello",
  run: async (payload: { name?: string; when?: Date }, { ctx }) => {
    logger.log("hello", { payload });
    return { hi: payload?.name ?? "nobody", date: payload?.when instanceof Date, attempt: ctx.attempt.number, run: ctx.run.id, tags: ctx.run.tags };
  },
});
export const flaky = task({
  id: "flaky",
  run: async (payload: { fails: number }, { ctx }) => {
    if (ctx.attempt.number <= payload.fails) throw new Error(`boom ${ctx.attempt.number}`);
    return ctx.attempt.number;
  },
});
export const parent = task({
  id: "parent",
  run: async (payload: { name: string }) => {
    const one = await hello.triggerAndWait({ name: payload.name });
    const bad = await flaky.triggerAndWait({ fails: 9 }, { maxAttempts: 1 });
    const many = await hello.batchTriggerAndWait([{ payload: { name: "a" } }, { payload: { name: "b" } }, { payload: { name: "c" } }]);
    return { one: one.ok && one.output.hi, bad: bad.ok ? "ok" : String((bad.error as any)?.message ?? bad.error), many: many.runs.map((r) => r.ok && r.output.hi) };
  },
});
export const sleeper = task({
  id: "sleeper",
  run: async (payload: { seconds: number }) => {
    const before = Date.now();
    await wait.for({ seconds: payload.seconds });
    return Date.now() - before;
  },
});
export const approval = task({
  id: "approval",
  run: async (payload: { token: string }) => {
    const r = await wait.forToken<{ by: string }>(payload.token);
    return r.ok ? { by: r.output.by } : { error: String((r.error as any)?.message ?? r.error) };
  },
});
export const meta = task({
  id: "meta",
  run: async () => {
    metadata.set("step", 1).append("log", "a").increment("n", 2);
    await tags.add("added");
    await metadata.flush();
    metadata.set("step", 2);
    return metadata.current();
  },
});
export const slow = task({
  id: "slow",
  run: async (payload: { ms: number }) => {
    await new Promise((r) => setTimeout(r, payload.ms));
    return "slept";
  },
});
export const one = queue({ name: "one", concurrencyLimit: 1 });
export const queued = task({
  id: "queued", queue: one,
  run: async (payload: { ms: number }) => {
    const from = Date.now();
    await new Promise((r) => setTimeout(r, payload.ms));
    return { from, to: Date.now() };
  },
});
export const model = concurrencyLimit({ name: "model", total: 2, perKey: 1 });
export const limited = task({
  id: "limited", concurrency: [{ total: 5 }, model],
  run: async (payload: { ms: number }) => {
    const from = Date.now();
    await new Promise((r) => setTimeout(r, payload.ms));
    return { from, to: Date.now() };
  },
});
export const queuedWaiter = task({
  id: "queued-waiter", queue: one,
  run: async (payload: { token?: string; seconds?: number }) => {
    const from = Date.now();
    if (payload.token) await wait.forToken(payload.token);
    if (payload.seconds) await wait.for({ seconds: payload.seconds });
    return { from, to: Date.now() };
  },
});
export const big = task({ id: "big", run: async (payload: { text: string }) => ({ text: payload.text + "!" }) });
export const cron = schedules.task({ id: "cron", run: async (payload) => ({ ts: payload.timestamp.toISOString(), n: payload.upcoming.length }) });
export const everyMinute = schedules.task({ id: "every-minute", cron: "* * * * *", run: async (payload) => ({ ts: payload.timestamp.toISOString(), n: payload.upcoming.length }) });

// What only matters once it is deployed.
export const about = task({
  id: "about",
  run: async (payload: { name?: string }, { ctx }) => ({
    pid: process.pid, uid: process.getuid?.(), version: ctx.deployment?.version, env: ctx.environment.slug, variable: payload?.name ? (process.env[payload.name] ?? null) : null,
    ours: Object.keys(process.env).filter((k) => k.startsWith("QUARTET_")),
  }),
});
export const misbehave = task({
  id: "misbehave", machine: "micro", retry: { maxAttempts: 1 },
  run: async (payload: { how: "exit" | "throw" | "hog" | "print" | "spin" | "segv" }) => {
    switch (payload.how) {
      case "exit":
        process.exit(3);
      case "throw":
        setTimeout(() => {
          throw new Error("nobody waits for me");
        });
        return new Promise(() => {});
      case "hog": {
        const kept: Buffer[] = [];
        for (;;) {
          kept.push(Buffer.alloc(16 << 20, 1)); // outside of the heap that Node.js bounds
          await new Promise((r) => setTimeout(r, 20));
        }
      }
      case "print":
        for (let i = 0; i < 2000; i++) process.stdout.write("x".repeat(65536) + "\n");
        return "printed";
      case "spin":
        for (;;);
      case "segv":
        process.kill(process.pid, "SIGSEGV");
        return new Promise(() => {});
    }
  },
});
export const hungry = task({
  id: "hungry", machine: "micro", retry: { maxAttempts: 2, outOfMemory: { machine: "small-2x" } },
  run: async (_: unknown, { ctx }) => {
    const kept: Buffer[] = [];
    for (let i = 0; i < 24; i++) {
      kept.push(Buffer.alloc(16 << 20, 1));
      await new Promise((r) => setTimeout(r, 50));
    }
    return ctx.machine?.name;
  },
});
export const survivor = task({
  id: "survivor", retry: { maxAttempts: 3 },
  run: async (payload: { file: string }, { ctx }) => {
    const { appendFileSync } = await import("node:fs");
    appendFileSync(payload.file, `${ctx.attempt.number} ${process.pid}\n`);
    if (ctx.attempt.number === 1) await new Promise((r) => setTimeout(r, 60_000));
    return ctx.attempt.number;
  },
});
export const noop = task({ id: "noop", run: async () => Date.now() });
