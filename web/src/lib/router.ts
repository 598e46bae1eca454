// Paths and their parameters as a signal, and links that do not reload the page.
import { computed, signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

const read = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) });

export const place = signal<Place>(typeof location === "undefined" ? { path: "/", query: new URLSearchParams() } : read());
export const path = computed(() => place.value.path);

export function navigate(href: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", href);
  else if (href !== location.pathname + location.search) history.pushState(null, "", href);
  const before = place.peek().path;
  place.value = read();
  if (place.value.path !== before) scrollTo(0, 0);
}

/** The current place with some parameters changed; an empty value removes one. */
export function withQuery(changes: Record<string, string | undefined>): string {
  const q = new URLSearchParams(place.value.query);
  for (const [k, v] of Object.entries(changes)) {
    if (v) q.set(k, v);
    else q.delete(k);
  }
  const s = q.toString();
  return place.value.path + (s ? `?${s}` : "");
}

/** The parameters of a path that fits a pattern like /runs/:id, or undefined. */
export function match(pattern: string, actual: string): Record<string, string> | undefined {
  const want = pattern.split("/").filter(Boolean);
  const have = actual.split("/").filter(Boolean);
  if (want.length !== have.length) return undefined;
  const out: Record<string, string> = {};
  for (const [i, w] of want.entries()) {
    const h = have[i] ?? "";
    if (w.startsWith(":")) {
      try {
        out[w.slice(1)] = decodeURIComponent(h);
      } catch {
        return undefined;
      }
    } else if (w !== h) return undefined;
  }
  return out;
}

/** Takes over plain clicks on links of this origin, and the browser's back and forward. */
export function startRouter(): void {
  addEventListener("popstate", () => (place.value = read()));
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = e.target instanceof Element ? e.target.closest("a") : null;
    if (!a?.href || a.target || a.hasAttribute("download") || a.origin !== location.origin || a.getAttribute("href")?.startsWith("#")) return;
    e.preventDefault();
    navigate(a.pathname + a.search);
  });
}
