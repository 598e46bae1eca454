// Every page, and the menu. A door's list becomes a page here: one route, one entry, one component.
import type { ComponentType } from "preact";
import { AppsPage } from "./pages/apps";
import { CliLinkPage } from "./pages/clilink";
import { CliLoginPage } from "./pages/clilogin";
import { DeadPage } from "./pages/dead";
import { DeploymentsPage } from "./pages/deployments";
import { EventPage } from "./pages/event";
import { EventsPage } from "./pages/events";
import { FunctionPage } from "./pages/function";
import { FunctionsPage } from "./pages/functions";
import { GroupsPage } from "./pages/groups";
import { JobPage } from "./pages/job";
import { JobQueuePage } from "./pages/jobqueue";
import { JobQueuesPage } from "./pages/jobqueues";
import { MessagePage } from "./pages/message";
import { MessagesPage } from "./pages/messages";
import { OverviewPage } from "./pages/overview";
import { QueuesPage } from "./pages/queues";
import { RunPage } from "./pages/run";
import { RunsPage } from "./pages/runs";
import { SchedulesPage } from "./pages/schedules";
import { TaskPage } from "./pages/task";
import { TaskAlertsPage } from "./pages/taskalerts";
import { TaskBatchesPage } from "./pages/taskbatches";
import { TaskEnvironmentPage } from "./pages/taskenvironment";
import { TaskQueuesPage } from "./pages/taskqueues";
import { TaskRunsPage } from "./pages/taskruns";
import { TasksPage } from "./pages/tasks";
import { TaskSchedulesPage } from "./pages/taskschedules";
import { TaskTokensPage } from "./pages/tasktokens";
import type { IconName } from "./ui/icons";

export type PageProps = Record<string, string>;

export const routes: [pattern: string, page: ComponentType<PageProps>, title: string][] = [
  ["/", OverviewPage, "Overview"],
  ["/runs", RunsPage, "Runs"],
  ["/runs/:id", RunPage as ComponentType<PageProps>, "Run"],
  ["/events", EventsPage, "Events"],
  ["/events/:id", EventPage as ComponentType<PageProps>, "Event"],
  ["/messages", MessagesPage, "Messages"],
  ["/messages/:id", MessagePage as ComponentType<PageProps>, "Message"],
  ["/dead", DeadPage, "Dead letters"],
  ["/schedules", SchedulesPage, "Schedules"],
  ["/queues", QueuesPage, "Queues"],
  ["/groups", GroupsPage, "URL groups"],
  ["/jobs", JobQueuesPage, "Job queues"],
  ["/jobs/queue", JobQueuePage, "Job queue"],
  ["/jobs/job", JobPage, "Job"],
  ["/tasks", TasksPage, "Tasks"],
  ["/tasks/task", TaskPage, "Task"],
  ["/tasks/runs", TaskRunsPage, "Task runs"],
  ["/tasks/schedules", TaskSchedulesPage, "Task schedules"],
  ["/tasks/queues", TaskQueuesPage, "Task queues"],
  ["/tasks/tokens", TaskTokensPage, "Wait tokens"],
  ["/tasks/batches", TaskBatchesPage, "Batches"],
  ["/tasks/deployments", DeploymentsPage, "Deployments"],
  ["/tasks/alerts", TaskAlertsPage, "Alerts"],
  ["/tasks/environment", TaskEnvironmentPage, "Keys and variables"],
  ["/projects/v3/:project", CliLinkPage as ComponentType<PageProps>, "Tasks"],
  ["/projects/v3/:project/:page", CliLinkPage as ComponentType<PageProps>, "Tasks"],
  ["/projects/v3/:project/:page/:id", CliLinkPage as ComponentType<PageProps>, "Tasks"],
  ["/trigger/login/:code", CliLoginPage as ComponentType<PageProps>, "Log in"],
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

/** A group that is not everywhere belongs to the server's first environment, or to a server that has tasks. */
export const menu: { title: string; first?: boolean; tasks?: boolean; entries: MenuEntry[] }[] = [
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
    title: "Messages",
    first: true,
    entries: [
      { path: "/messages", text: "Messages", icon: "send", key: "m" },
      { path: "/dead", text: "Dead letters", icon: "failed", key: "d" },
      { path: "/schedules", text: "Schedules", icon: "queued", key: "c" },
      { path: "/queues", text: "Queues", icon: "waiting", key: "q" },
      { path: "/groups", text: "URL groups", icon: "apps", key: "u" },
    ],
  },
  {
    title: "Jobs",
    first: true,
    entries: [{ path: "/jobs", text: "Job queues", icon: "runs", key: "j" }],
  },
  {
    title: "Tasks",
    tasks: true,
    entries: [
      { path: "/tasks", text: "Tasks", icon: "functions", key: "t" },
      { path: "/tasks/runs", text: "Task runs", icon: "runs", key: "x" },
      { path: "/tasks/schedules", text: "Task schedules", icon: "queued", key: "h" },
      { path: "/tasks/queues", text: "Task queues", icon: "waiting", key: "w" },
      { path: "/tasks/tokens", text: "Wait tokens", icon: "input", key: "n" },
      { path: "/tasks/batches", text: "Batches", icon: "overview", key: "b" },
      { path: "/tasks/deployments", text: "Deployments", icon: "send", key: "p" },
      { path: "/tasks/alerts", text: "Alerts", icon: "warning", key: "l" },
      { path: "/tasks/environment", text: "Keys and variables", icon: "apps", key: "v" },
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

/** Whether a page is about the server's first environment, whichever is chosen. */
export function isFirstOnly(path: string): boolean {
  return menu.some((g) => g.first && g.entries.some((e) => path === e.path || path.startsWith(`${e.path}/`)));
}
