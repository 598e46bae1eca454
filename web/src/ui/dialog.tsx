// Dialogs and the fields in them.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { message } from "../lib/api";
import { format, parse, problem } from "../lib/json";
import { Icon } from "./icons";

/** A modal form. onSubmit does the work; an error it throws is shown and the dialog stays. */
export function Dialog({ title, submit, danger, wide, onSubmit, onClose, children, valid = true }: {
  title: string;
  submit: string;
  danger?: boolean;
  wide?: boolean;
  valid?: boolean;
  onSubmit: () => Promise<void>;
  onClose: () => void;
  children?: ComponentChildren;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog?.showModal();
    return () => {
      dialog?.close(); // while it is open nothing behind it takes the focus
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const run = async () => {
    if (busy || !valid) return;
    setBusy(true);
    setError("");
    try {
      await onSubmit();
      onClose();
    } catch (err) {
      setError(message(err));
      setBusy(false);
    }
  };
  return (
    <dialog
      ref={ref} class={wide ? "wide-dialog" : undefined} aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onKeyDown={(e) => {
        if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) void run();
      }}
    >
      <form
        onSubmit={(e) => {
          e.preventDefault();
          void run();
        }}
      >
        <h2 id={id}>{title}</h2>
        <div class="dialog-body">{children}</div>
        {error && <div class="notice bad" role="alert"><Icon name="warning" /><span>{error}</span></div>}
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Close</button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={busy || !valid}>{busy ? "One moment…" : submit}</button>
        </div>
      </form>
    </dialog>
  );
}

/** A field for JSON that says at once what is wrong with it. */
export function JsonField({ label, hint, value, onInput, optional, check, rows = 10, focus }: {
  label: string;
  hint?: ComponentChildren;
  value: string;
  onInput: (text: string) => void;
  optional?: boolean;
  check?: (v: unknown) => string; // what is wrong with a value that is JSON
  rows?: number;
  focus?: boolean;
}) {
  const id = useId();
  const wrong = jsonProblem(value, optional, check);
  return (
    <div class="field">
      <div class="field-head">
        <label for={id}>{label}</label>
        <button type="button" class="small" disabled={!!wrong || !value.trim()} onClick={() => onInput(format(parse(value)))}>Format</button>
      </div>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      <textarea
        id={id} class="mono" rows={rows} value={value} spellcheck={false} autocomplete="off" autocapitalize="off" autofocus={focus}
        aria-invalid={!!wrong} aria-describedby={`${id}-wrong${hint ? ` ${id}-hint` : ""}`} onInput={(e) => onInput(e.currentTarget.value)}
      />
      <p class="field-wrong" id={`${id}-wrong`} aria-live="polite">{wrong}</p>
    </div>
  );
}

export function jsonProblem(text: string, optional?: boolean, check?: (v: unknown) => string): string {
  if (!text.trim()) return optional ? "" : "This must not be empty.";
  return problem(text) || (check ? check(parse(text)) : "");
}

export const isObject = (v: unknown) => (v !== null && typeof v === "object" && !Array.isArray(v) ? "" : "This must be an object: { … }");
export const isList = (v: unknown) => (Array.isArray(v) ? "" : "This must be a list: [ … ]");
