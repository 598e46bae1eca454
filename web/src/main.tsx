import { render } from "preact";
import { App } from "./app";
import { loadSession, message } from "./lib/api";
import { startLive } from "./lib/live";
import { startRouter } from "./lib/router";
import { applyTheme } from "./lib/theme";
import "./style.css";

const root = document.getElementById("app") as HTMLElement;

applyTheme();
startRouter();

async function start(): Promise<void> {
  try {
    await loadSession();
  } catch (err) {
    root.textContent = `${message(err)} Trying again…`;
    setTimeout(() => void start(), 1500);
    return;
  }
  root.textContent = "";
  startLive();
  render(<App />, root);
}

void start();
