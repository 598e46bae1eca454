// What the pages of QStash's messages share.
import type { ComponentChildren } from "preact";
import { href, message } from "../lib/api";
import type { LogState } from "../lib/types";
import { Icon, type IconName } from "./icons";
import { Badge, toast } from "./parts";

const looks: Record<LogState, [tone: string, icon: IconName, word: string]> = {
  CREATED: ["quiet", "queued", "created"],
  ACTIVE: ["busy", "running", "active"],
  RETRY: ["warn", "retrying", "retry"],
  ERROR: ["bad", "warning", "error"],
  DELIVERED: ["good", "completed", "delivered"],
  FAILED: ["bad", "failed", "failed"],
  CANCEL_REQUESTED: ["quiet", "skipped", "cancel requested"],
  CANCELED: ["quiet", "cancelled", "cancelled"],
};

/** A message's state as an icon, a colour and a word. */
export function Delivery({ is }: { is: LogState }) {
  const [tone, icon, word] = looks[is] ?? ["quiet", "planned", String(is).toLowerCase()];
  return <span class={`status ${tone}`}><Icon name={icon} />{word}</span>;
}

/** How much of each body a list asks for: one message may have ten megabytes. */
export const listedBody = 300; // bytes

export const messagePath = (id: string) => href(`/messages/${encodeURIComponent(id)}`);

/** Where a message belongs, in a few words. */
export function Belongs({ m }: { m: { queueName?: string; flowControlKey?: string; labels?: string[]; topicName?: string; scheduleId?: string } }) {
  const parts: ComponentChildren[] = [];
  if (m.queueName) parts.push(<>queue <code>{m.queueName}</code></>);
  if (m.flowControlKey) parts.push(<>flow key <code>{m.flowControlKey}</code></>);
  if (m.topicName) parts.push(<>URL group <code>{m.topicName}</code></>);
  if (m.scheduleId) parts.push(<>schedule <code>{m.scheduleId}</code></>);
  return (
    <>
      {parts.map((p, i) => <span key={i}>{i > 0 && ", "}{p}</span>)}
      {m.labels?.map((l) => <span key={l}> <Badge>{l}</Badge></span>)}
    </>
  );
}

/** Does what a button asks for; what goes wrong is said. */
export async function act(work: () => Promise<void>, then: () => void): Promise<void> {
  try {
    await work();
  } catch (err) {
    toast(message(err), { tone: "bad" });
  }
  then();
}
