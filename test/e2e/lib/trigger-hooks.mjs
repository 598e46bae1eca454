// A page with the official React hooks, in a program of its own because it has a browser's globals. Its origin is another than the server's, so it asks
// first what it may do there, as browsers do, and sees of an answer what it may see. It shows what it is told to as JSON on its command line, and prints what the hooks gave in the end.
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const installed = createRequire(join(resolve(dirname(fileURLToPath(import.meta.url)), "../trigger-app"), "package.json"));
const load = (name) => import(pathToFileURL(installed.resolve(name)));
const { Window } = await load("happy-dom");
const origin = "http://page.localhost:1234";
const window = new Window({ url: origin });
for (const name of ["window", "document", "navigator", "HTMLElement", "HTMLIFrameElement", "Node", "Event"])
  Object.defineProperty(globalThis, name, { value: name === "window" ? window : window[name], configurable: true, writable: true });

const plainFetch = globalThis.fetch;
const list = (r, name) => (r.headers.get(name) ?? "").toLowerCase().split(/, */);
const refused = (why) => Promise.reject(new TypeError(`a browser would not allow this: ${why}`));
globalThis.fetch = async (input, init) => {
  const r = new Request(input, init);
  const names = [...r.headers.keys()].filter((n) => !["accept", "accept-language", "content-language"].includes(n));
  const may = await plainFetch(r.url, { method: "OPTIONS", headers: { origin, "access-control-request-method": r.method, "access-control-request-headers": names.join(",") } });
  if (!may.ok || may.headers.get("access-control-allow-origin") !== "*") return refused(`${r.method} ${r.url} from elsewhere`);
  if (!list(may, "access-control-allow-methods").includes(r.method.toLowerCase())) return refused(r.method);
  for (const n of names) if (!list(may, "access-control-allow-headers").includes(n)) return refused(`the header ${n}`);
  r.headers.set("origin", origin);
  const got = await plainFetch(r);
  if (got.headers.get("access-control-allow-origin") !== "*") return refused("reading the answer");
  const seen = [...got.headers].filter(([n]) => ["cache-control", "content-length", "content-type"].includes(n) || list(got, "access-control-expose-headers").includes(n));
  return new Response(got.body, { status: got.status, statusText: got.statusText, headers: seen });
};

const { createElement: h, useEffect } = (await load("react")).default;
const { createRoot } = (await load("react-dom/client")).default;
const hooks = await load("@trigger.dev/react-hooks");

const { url, ...wanted } = JSON.parse(process.argv[2]);
const seen = {}; // the latest of each hook
let report;
const all = new Promise((r) => (report = r));

/** Notes what a hook gives, and whether that is all there is to come. */
const note = (name, value, done) => useEffect(() => {
  seen[name] = value;
  if (done) waiting.delete(name);
  if (waiting.size === 0) report();
});
const shown = {
  useRun({ run, accessToken }) {
    const { run: r, error } = hooks.useRun(run, { accessToken, refreshInterval: 200 });
    note("useRun", error?.message ?? r?.status, r?.isCompleted);
  },
  useRealtimeRun({ run, accessToken }) {
    const { run: r, error } = hooks.useRealtimeRun(run, { accessToken });
    note("useRealtimeRun", error?.message ?? [r?.status, r?.output], r?.finishedAt);
  },
  useRealtimeRunsWithTag({ tag, accessToken }) {
    const { runs, error } = hooks.useRealtimeRunsWithTag(tag, { accessToken });
    note("useRealtimeRunsWithTag", error?.message ?? runs.map((r) => r.status), runs.length > 0 && runs.every((r) => r.finishedAt));
  },
  useRealtimeBatch({ batch, accessToken }) {
    const { runs, error } = hooks.useRealtimeBatch(batch, { accessToken });
    note("useRealtimeBatch", error?.message ?? runs.map((r) => r.output?.hi).sort(), runs.length > 0 && runs.every((r) => r.finishedAt));
  },
  useRealtimeRunWithStreams({ run, accessToken, stream, count }) {
    const { run: r, streams, error } = hooks.useRealtimeRunWithStreams(run, { accessToken });
    note("useRealtimeRunWithStreams", error?.message ?? [r?.status, streams[stream]?.length], r?.finishedAt && streams[stream]?.length === count);
  },
  useRealtimeStream({ run, accessToken, stream, count }) {
    const { parts, error } = hooks.useRealtimeStream(run, stream, { accessToken });
    note("useRealtimeStream", error?.message ?? parts, parts.length === count);
  },
  useTaskTrigger({ task, accessToken }) {
    const { submit, handle, error } = hooks.useTaskTrigger(task, { accessToken });
    useEffect(() => submit({ text: "button" }, { tags: ["from-a-page"] }), []);
    note("useTaskTrigger", error?.message ?? handle?.id, handle);
  },
  useRealtimeTaskTrigger({ task, accessToken }) {
    const { submit, run, error } = hooks.useRealtimeTaskTrigger(task, { accessToken });
    useEffect(() => submit({ name: "page" }), []);
    note("useRealtimeTaskTrigger", error?.message ?? [run?.status, run?.output?.hi], run?.finishedAt);
  },
  useWaitToken({ token, accessToken }) {
    const { complete, isCompleted, error } = hooks.useWaitToken(token, { accessToken });
    useEffect(() => complete({ by: "page" }), []);
    note("useWaitToken", error?.message ?? isCompleted, isCompleted);
  },
  useInputStreamSend({ run, stream, accessToken }) {
    const { send, isReady, isLoading, error } = hooks.useInputStreamSend(stream, run, { accessToken });
    useEffect(() => void (isReady && send({ by: "page" })), [isReady]);
    note("useInputStreamSend", error?.message ?? isReady, isReady && !isLoading);
  },
};
const waiting = new Set(Object.keys(wanted));
const Shown = ({ name, args }) => shown[name](args) ?? null;

const root = createRoot(document.body.appendChild(document.createElement("div")));
root.render(h(hooks.TriggerAuthContext.Provider, { value: { baseURL: url } }, ...Object.entries(wanted).map(([name, args]) => h(Shown, { key: name, name, args }))));
await Promise.race([all, new Promise((r) => setTimeout(r, 90_000))]); // the limit is only there to end a broken test
process.stdout.write(JSON.stringify({ seen, missing: [...waiting] }));
process.exit(0);
