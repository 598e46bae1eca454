import { useState } from "preact/hooks";
import { login, message } from "../lib/api";
import { Problem } from "../ui/parts";

export function LoginPage() {
  const [key, setKey] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError("");
    try {
      await login(key);
    } catch (err) {
      setError(message(err));
      setBusy(false);
    }
  };
  return (
    <main class="login">
      <form onSubmit={(e) => void submit(e)}>
        <h1><img src="/favicon.svg" alt="" width="28" height="28" /> Quartet</h1>
        <div class="field">
          <div class="field-head"><label for="key">Dashboard key</label></div>
          <input id="key" type="password" class="mono" autocomplete="current-password" autofocus required value={key} onInput={(e) => setKey(e.currentTarget.value)} aria-describedby="key-hint" />
          <p class="hint" id="key-hint">The value of <code>--dashboard-key</code> or <code>QUARTET_DASHBOARD_KEY</code> that the server was started with.</p>
        </div>
        {error && <Problem text={error} />}
        <button type="submit" class="primary" disabled={busy}>{busy ? "One moment…" : "Log in"}</button>
      </form>
    </main>
  );
}
