// Every page, and the menu. A door's list becomes a page here: one route, one entry, one component.
import type { ComponentType } from "preact";
import { AppsPage } from "./pages/apps";
import { EventPage } from "./pages/event";
import { EventsPage } from "./pages/events";
import { FunctionPage } from "./pages/function";
import { FunctionsPage } from "./pages/functions";
import { OverviewPage } from "./pages/overview";
import { RunPage } from "./pages/run";
import { RunsPage } from "./pages/runs";
import type { IconName } from "./ui/icons";

export type PageProps = Record<string, string>;

export const routes: [pattern: string, page: ComponentType<PageProps>, title: string][] = [
  ["/", OverviewPage, "Overview"],
  ["/runs", RunsPage, "Runs"],
  ["/runs/:id", RunPage as ComponentType<PageProps>, "Run"],
  ["/events", EventsPage, "Events"],
  ["/events/:id", EventPage as ComponentType<PageProps>, "Event"],
  ["/functions", FunctionsPage, "Functions"],
  ["/functions/:slug", FunctionPage as ComponentType<PageProps>, "Function"],
  ["/apps", AppsPage, "Apps"],
];

export interface MenuEntry {
  path: string;
  text: string;
  icon: IconName;
  key: string; // G and then this goes there
}

export const menu: { title: string; entries: MenuEntry[] }[] = [
  {
    title: "",
    entries: [{ path: "/", text: "Overview", icon: "overview", key: "o" }],
  },
  {
    title: "Work",
    entries: [
      { path: "/runs", text: "Runs", icon: "runs", key: "r" },
      { path: "/events", text: "Events", icon: "events", key: "e" },
    ],
  },
  {
    title: "Code",
    entries: [
      { path: "/functions", text: "Functions", icon: "functions", key: "f" },
      { path: "/apps", text: "Apps", icon: "apps", key: "a" },
    ],
  },
];
