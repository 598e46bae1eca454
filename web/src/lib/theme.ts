// Light, dark, or as the system says.
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const key = "quartet-theme";

function stored(): Theme {
  try {
    const t = localStorage.getItem(key);
    return t === "light" || t === "dark" ? t : "system";
  } catch {
    return "system"; // storage is not allowed
  }
}

export const theme = signal<Theme>("system");

export function applyTheme(t: Theme = stored()): void {
  theme.value = t;
  document.documentElement.dataset.theme = t;
  try {
    if (t === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, t);
  } catch {
    // It lasts until the page is closed.
  }
}

export function nextTheme(): void {
  const order: Theme[] = ["system", "light", "dark"];
  applyTheme(order[(order.indexOf(theme.peek()) + 1) % order.length]);
}
