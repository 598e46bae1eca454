import { approveContacts } from "@/app/actions";
import { followToken } from "@/lib/imports";
import { Progress } from "./progress";

/** Follows an import live: the browser asks the server of the tasks itself, with a token for this run alone. */
export default async function Import({ params }: { params: Promise<{ run: string }> }) {
  const { run } = await params;
  return (
    <>
      <h1>Import</h1>
      <Progress run={run} token={await followToken(run)} url={process.env.TRIGGER_API_URL!} approve={approveContacts} />
    </>
  );
}
