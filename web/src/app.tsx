// The frame around every page: menu, environment, keyboard.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { environment, href, logout, message, session } from "./lib/api";
import { aboutRuns, connection, heardAt, paused, useLive } from "./lib/live";
import { match, navigate, path } from "./lib/router";
import { nextTheme, theme } from "./lib/theme";
import { clockTime } from "./lib/time";
import type { Overview } from "./lib/types";
import { isFirstOnly, menu, routes } from "./pages";
import { LoginPage } from "./pages/login";
import { Icon } from "./ui/icons";
import { Empty, PageHead, setPaused, toast, Toasts } from "./ui/parts";
import { SendDialog, sending } from "./ui/send";

const helping = signal(false);

export function App() {
  const s = session.value;
  if (!s) return null;
  if (!s.authenticated) return <LoginPage />;
  return <Frame />;
}

function Frame() {
  const found = routes.map(([pattern, page, title]) => ({ page, title, params: match(pattern, path.value) })).find((r) => r.params);
  useEffect(() => {
    document.title = found ? `${found.title} · Quartet` : "Quartet";
  }, [path.value]);
  useKeyboard();
  const Page = found?.page;
  return (
    <div class="frame">
      <a class="skip" href="#main">Skip to the content</a>
      <Side />
      <main id="main">
        <Outage />
        {/* A page belongs to a path and an environment: another one starts afresh. */}
        {Page && environment.value && isFirstOnly(path.value) ? <Elsewhere title={found?.title ?? ""} /> : Page ? <Page key={`${environment.value} ${path.value}`} {...found.params} /> : <NotFound />}
      </main>
      {sending.value && <SendDialog />}
      {helping.value && <Help />}
      <Toasts />
    </div>
  );
}

/** What is shown stays while the server is away, and must not be taken for the present. */
function Outage() {
  const lost = connection.value === "lost";
  return (
    <div role="status">
      {lost && (
        <div class="notice warn">
          <Icon name="warning" />
          <span>The server cannot be reached since {clockTime(heardAt.value).slice(0, 8)}. What is shown is from before then; this page tries again by itself.</span>
        </div>
      )}
    </div>
  );
}

function Side() {
  const s = session.value;
  const counts = useLive<Overview>("/overview", aboutRuns).data;
  const envs = s?.environments ?? [];
  const here = (p: string) => {
    if (p === "/" || p === "/tasks") return path.value === p || (p === "/tasks" && path.value === "/tasks/task");
    return path.value === p || path.value.startsWith(`${p}/`);
  };
  const nav = useRef<HTMLElement>(null);
  useEffect(() => { // where the menu is one line, the current entry may be outside
    const current = nav.current?.querySelector<HTMLElement>("[aria-current]");
    if (nav.current && current) nav.current.scrollLeft = current.offsetLeft - nav.current.offsetLeft - 60;
  }, [path.value]);
  const themes = { system: "System colours", light: "Light", dark: "Dark" };
  return (
    <header class="side">
      <a class="brand" href={href("/")} title="Go to the overview">
        <img src="/favicon.svg" alt="" width="22" height="22" />
        <span>Quartet</span>
        {s?.dev && <span class="badge quiet">dev</span>}
      </a>
      {envs.length > 1 && (
        <label class="environment">
          <span>Environment</span>
          <select value={environment.value || envs[0]} onChange={(e) => navigate(`/?env=${encodeURIComponent(e.currentTarget.value)}`)}>
            {envs.map((e) => <option key={e} value={e}>{e}</option>)}
          </select>
        </label>
      )}
      <button type="button" class="send" onClick={() => (sending.value = {})}><Icon name="send" />Send event</button>
      <nav class="menu" aria-label="Main" ref={nav}>
        {menu.filter((group) => (!group.first || !environment.value) && (!group.tasks || s?.tasks)).map((group) => (
          <div class="menu-group" key={group.title}>
            {group.title && <p class="menu-title">{group.title}</p>}
            {group.entries.map((e) => (
              <a key={e.path} href={href(e.path)} aria-current={here(e.path) ? "page" : undefined}>
                <Icon name={e.icon} />{e.text}
                {e.path === "/runs" && !!counts?.unfinishedRuns && <span class="count" title={`${counts.unfinishedRuns} unfinished runs`}>{short(counts.unfinishedRuns)}<span class="unseen"> unfinished</span></span>}
              </a>
            ))}
          </div>
        ))}
      </nav>
      <div class="foot">
        <button type="button" class="plain" onClick={nextTheme} title="Change the colours"><Icon name="light" /><span>{themes[theme.value]}</span></button>
        <button type="button" class="plain" onClick={() => (helping.value = true)} title="Keyboard shortcuts (?)"><span class="key-icon" aria-hidden="true">?</span><span>Keyboard</span></button>
        {!s?.dev && <button type="button" class="plain" onClick={() => logout().catch((err: unknown) => toast(message(err), { tone: "bad" }))}><Icon name="invoking" /><span>Log out</span></button>}
        <p class="version">{s?.version ? `Version ${s.version}` : ""}</p>
      </div>
    </header>
  );
}

const short = (n: number) => (n < 1000 ? String(n) : n < 1e6 ? `${Math.floor(n / 1000)}k` : `${Math.floor(n / 1e6)}M`);

/** QStash knows no environments, so its pages would show another one's messages. */
function Elsewhere({ title }: { title: string }) {
  const first = session.value?.environments?.[0] ?? "";
  return (
    <>
      <PageHead title={title} />
      <Empty title={`Messages belong to the environment ${first}.`}><a href={path.value}>Go there</a></Empty>
    </>
  );
}

function NotFound() {
  return (
    <>
      <PageHead title="There is no such page" />
      <Empty title={path.value}><a href={href("/")}>Go to the overview</a></Empty>
    </>
  );
}

const shortcuts: [string, string][] = [
  ["J  K", "next or previous row"],
  ["Enter", "open the row or the step"],
  ["N", "next page of a list"],
  ["/", "go to the filter"],
  ["P", "pause or resume live changes"],
  ["S", "send an event"],
  ["G then O R E F A", "go to overview, runs, events, functions, apps"],
  ["G then M D C Q U J", "go to messages, dead letters, schedules, queues, URL groups, job queues"],
  ["G then T X H W N B P V", "go to tasks, their runs, schedules, queues, wait tokens, batches, deployments, keys and variables"],
  ["Ctrl Enter", "submit a dialog"],
  ["Esc", "close a dialog"],
];

function Help() {
  useEffect(() => {
    document.querySelector<HTMLDialogElement>("dialog.help")?.showModal();
  }, []);
  return (
    <dialog class="help" aria-label="Keyboard shortcuts" onClose={() => (helping.value = false)}>
      <h2>Keyboard</h2>
      <dl class="keys">
        {shortcuts.map(([k, v]) => (
          <div key={k}>
            <dt>{k.split(" ").filter(Boolean).map((p) => (p === "then" ? " then " : <kbd key={p}>{p}</kbd>))}</dt>
            <dd>{v}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog" class="dialog-actions"><button type="submit" class="primary">Close</button></form>
    </dialog>
  );
}

/** Single keys that do something, except where one types. */
function useKeyboard(): void {
  useEffect(() => {
    let prefix = -Infinity; // when G was pressed
    const onKey = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector("dialog[open]")) return;
      const t = e.target as HTMLElement;
      if (t.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(t.tagName)) {
        if (e.key === "Escape") t.blur();
        return;
      }
      const key = e.key.toLowerCase();
      if (performance.now() - prefix < 1500) {
        prefix = -Infinity;
        const entry = menu.flatMap((g) => g.entries).find((m) => m.key === key);
        if (entry) {
          e.preventDefault();
          navigate(href(entry.path));
          return;
        }
      }
      const actions: Record<string, () => void> = {
        g: () => (prefix = performance.now()),
        j: () => moveRow(1),
        k: () => moveRow(-1),
        p: () => setPaused(!paused.peek()),
        s: () => (sending.value = {}),
        n: () => document.querySelector<HTMLAnchorElement>(".pager a[rel=next]")?.click(),
        "/": () => document.querySelector<HTMLElement>("[data-filter]")?.focus(),
        "?": () => (helping.value = true),
      };
      const action = actions[key];
      if (action && (!e.shiftKey || key === "?" || key === "/")) {
        e.preventDefault();
        action();
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function moveRow(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>(".list tbody a.row, .waterfall button.step-row")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

