// Tasks that tell of themselves while they execute.
import { logger, metadata, otel, task } from "@trigger.dev/sdk";
import { hello } from "./tasks.js";

export const told = task({
  id: "told",
  run: async (payload: { fails?: number; ms?: number; trigger?: boolean }, { ctx }) => {
    logger.info("begun", { payload, list: [1, { two: 2 }], nothing: null });
    metadata.set("attempt", ctx.attempt.number);
    await logger.trace("look around", async (span) => {
      span.setAttribute("where", "here");
      if (payload.trigger) await hello.triggerAndWait({ name: "child" });
      if (payload.ms) await new Promise((r) => setTimeout(r, payload.ms));
      if (ctx.attempt.number <= (payload.fails ?? 0)) throw new Error(`lost ${ctx.attempt.number}`);
    });
    console.error("a line of the console");
    return { told: true };
  },
});
export const measured = task({
  id: "measured",
  run: async (payload: { orders: number[] }) => {
    const counter = otel.metrics.getMeter("shop").createCounter("orders");
    for (const n of payload.orders) counter.add(n, { where: "web" });
  },
});
