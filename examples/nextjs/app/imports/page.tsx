import { connection } from "next/server";
import { importCsv } from "@/app/actions";
import { hasTasks } from "@/lib/imports";

const example = `email,name
bea@paperboat.example,Bea
carl@paperboat.example,Carl
dora@paperboat.example,Dora
no address,Nobody
emil@paperboat.example,Emil
fritz@paperboat.example,Fritz
gerda@paperboat.example,Gerda
`;

export default async function Imports() {
  await connection();
  return (
    <>
      <h1>Bring your contacts</h1>
      {hasTasks() ? (
        <form action={importCsv} className="card">
          <label>
            A CSV file with the columns email and name
            <textarea name="csv" rows={10} defaultValue={example} required />
          </label>
          <button>Import</button>
        </form>
      ) : (
        <p role="status">Set TRIGGER_API_URL and TRIGGER_SECRET_KEY to import contacts.</p>
      )}
    </>
  );
}
