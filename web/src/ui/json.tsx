// A tree of JSON that folds. Only what is unfolded is in the page, so big payloads cost little.
import { useState } from "preact/hooks";
import { ExactNumber, format } from "../lib/json";
import { Copy } from "./parts";
import { Icon } from "./icons";

const longText = 400; // characters shown of a string before one asks for more
const moreText = 50_000; // and how many more one gets: a browser lays a megabyte of text out for seconds
const manyItems = 100; // items shown of a list or object before one asks for more
const openItems = 40; // what has more starts folded, except at the top

export function JsonView({ value, label }: { value: unknown; label: string }) {
  const simple = value === null || typeof value !== "object" || value instanceof ExactNumber;
  return (
    <div class="json" role="group" aria-label={label}>
      <div class="json-copy"><Copy text={() => format(value)} what={label} /></div>
      {simple ? <div class="json-line"><Scalar value={value} /></div> : <Node value={value} depth={0} />}
    </div>
  );
}

function Scalar({ value }: { value: unknown }) {
  const [shown, setShown] = useState(longText);
  if (value instanceof ExactNumber) return <span class="j-num">{value.text}</span>;
  if (typeof value === "string") {
    const cut = value.length > shown;
    return (
      <>
        <span class="j-str">{JSON.stringify(cut ? value.slice(0, shown) : value)}</span>
        {cut && <button type="button" class="j-more" onClick={() => setShown(shown + moreText)}>{value.length - shown} more characters</button>}
      </>
    );
  }
  if (value === undefined) return <span class="muted">nothing</span>;
  return <span class={typeof value === "number" ? "j-num" : "j-word"}>{String(value)}</span>;
}

function Node({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
  const box = value !== null && typeof value === "object" && !(value instanceof ExactNumber);
  const entries: [string, unknown][] = !box ? [] : Array.isArray(value) ? value.map((v, i) => [String(i), v]) : Object.entries(value as object);
  const [open, setOpen] = useState(depth === 0 || (depth < 3 && entries.length <= openItems));
  const [shown, setShown] = useState(manyItems);
  const key = name !== undefined && <span class="j-key">{name}<span class="j-punct">: </span></span>;
  if (!box) return <div class="json-line">{key}<Scalar value={value} /></div>;
  const list = Array.isArray(value);
  const [left, right] = list ? "[]" : "{}";
  if (entries.length === 0) return <div class="json-line">{key}<span class="j-punct">{left}{right}</span></div>;
  const count = `${entries.length} ${list ? (entries.length === 1 ? "item" : "items") : entries.length === 1 ? "key" : "keys"}`;
  return (
    <div>
      <div class="json-line">
        <button type="button" class="j-fold" aria-expanded={open} aria-label={`${name ?? "value"}, ${count}`} onClick={() => setOpen(!open)}><Icon name="chevron" /></button>
        {key}<span class="j-punct">{left}</span>
        {!open && <><span class="muted"> {count} </span><span class="j-punct">{right}</span></>}
      </div>
      {open && (
        <>
          <div class="json-children">
            {entries.slice(0, shown).map(([k, v]) => <Node key={k} name={k} value={v} depth={depth + 1} />)}
            {entries.length > shown && (
              <button type="button" class="j-more" onClick={() => setShown(shown + 10 * manyItems)}>{entries.length - shown} more</button>
            )}
          </div>
          <div class="json-line"><span class="j-punct">{right}</span></div>
        </>
      )}
    </div>
  );
}
