import { useEffect, useState } from "preact/hooks";
import { get, message } from "../lib/api";
import { navigate, place } from "../lib/router";
import { runNumber, tasksApi } from "../lib/tasks";
import type { PageProps } from "../pages";
import { PageHead, Problem, Skeleton } from "../ui/parts";

interface Named {
  name: string;
  project: string;
  slug: string;
}

/** The page that a link means which the CLI prints. */
export function target(page: string, id: string): string {
  switch (page) {
    case "runs":
      return id ? `/runs/${runNumber(id)}` : "/tasks/runs";
    case "deployments":
      return "/tasks/deployments";
  }
  return "/tasks";
}

/** The CLI prints links with projects and environments in their paths, as its own server has them. */
export function CliLinkPage({ project, page, id }: PageProps) {
  const [error, setError] = useState("");
  useEffect(() => {
    const q = place.value.query;
    const slug = q.get("environment") ?? q.get("envSlug") ?? (page === "deployments" ? "prod" : "dev");
    get<{ environments: Named[] }>(tasksApi("/inside/environments")).then(({ environments }) => {
      const of = environments.filter((e) => e.project === project);
      const env = of.find((e) => e.slug === slug) ?? of[0] ?? environments[0];
      navigate(`${target(page ?? "", id ?? "")}?env=${encodeURIComponent(env?.name ?? "")}`);
    }, (err: unknown) => setError(message(err)));
  }, []);
  return (
    <>
      <PageHead title="One moment" />
      {error ? <Problem text={error} /> : <Skeleton />}
    </>
  );
}
