import { useState } from "preact/hooks";
import { href, message, post } from "../lib/api";
import { tasksApi } from "../lib/tasks";
import { PageHead, Problem } from "../ui/parts";

/** Where trigger login sends whoever started it. */
export function CliLoginPage({ code }: { code: string }) {
  const [state, setState] = useState<"asking" | "busy" | "done">("asking");
  const [error, setError] = useState("");
  const approve = async () => {
    setState("busy");
    setError("");
    try {
      await post(tasksApi(`/inside/login/${encodeURIComponent(code)}`));
      setState("done");
    } catch (err) {
      setError(message(err));
      setState("asking");
    }
  };
  return (
    <>
      <PageHead title="Let the Trigger.dev CLI in?" />
      {error && <Problem text={error} />}
      {state === "done" ? (
        <p>The CLI has an access token now. You can close this page, or <a href={href("/tasks")}>look at the tasks</a>.</p>
      ) : (
        <>
          <p>Somebody ran <code>trigger login</code>. If that was you, and the code in your terminal is <code>{code}</code>, let it in: it gets an access token with which it may deploy to every environment.</p>
          <p class="actions"><button type="button" class="primary" disabled={state === "busy"} onClick={() => void approve()}>{state === "busy" ? "One moment…" : "Let it in"}</button></p>
        </>
      )}
    </>
  );
}
