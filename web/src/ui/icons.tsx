// Small line icons. They stand beside words, so they are hidden from screen readers.
const paths = {
  queued: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11ZM8 5v3l2 1.5",
  running: "M5.5 3.5v9l7-4.5z",
  completed: "M3 8.5 6.5 12 13 4.5",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11ZM4.2 4.2l7.6 7.6",
  skipped: "M3.5 4v8l5-4zM8.5 4v8l5-4z",
  retrying: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.6h-2.6",
  sleeping: "M12.8 9.7A5.4 5.4 0 0 1 6.3 3.2a5.4 5.4 0 1 0 6.5 6.5Z",
  waiting: "M4.5 2.5h7M4.5 13.5h7M5 2.5c0 3 3 3.6 3 5.5s-3 2.5-3 5.5M11 2.500c0 3-3 3.6-3 5.500s3 2.5 3 5.5",
  invoking: "M3 8h9M8.5 4.5 12 8l-3.5 3.5",
  planned: "M8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3Z",
  input: "M3 12.500l.6-2.800L10.3 3l2.7 2.7-6.7 6.700z",
  copy: "M5.5 5.500V3h7.500v7.500h-2.500M3 5.500h7.500V13H3z",
  pause: "M5.5 3.500v9M10.5 3.500v9",
  chevron: "M6 4l4 4-4 4",
  search: "M7 2.500a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9ZM10.5 10.5 13.5 13.5",
  overview: "M2.5 2.500h4.500v4.500H2.500zM9 2.500h4.500v4.500H9zM2.5 9h4.500v4.500H2.500zM9 9h4.500v4.500H9z",
  runs: "M2.5 4h7M5 8h8.500M2.5 12h5",
  events: "M8.5 2 3.5 9H8l-.5 5 5-7H8z",
  functions: "M10.5 2.500c-2 0-2.3 1.2-2.6 3L6.6 11c-.3 1.7-.8 2.5-2.6 2.500M5 6.500h5.5",
  apps: "M8 2 13.5 5v6L8 14 2.5 11V5zM2.5 5 8 8l5.5-3M8 8v6",
  send: "M2.5 8 13.5 2.8 10.5 13.5 7.8 9z",
  rerun: "M3 8a5 5 0 1 0 1.6-3.700M3 2.500v2.600h2.6",
  light: "M8 5.500a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5ZM8 1.500v1.500M8 13v1.500M1.5 8H3M13 8h1.500M3.4 3.400l1 1M11.6 11.600l1 1M12.6 3.400l-1 1M4.4 11.600l-1 1",
  warning: "M8 2.5 14 13H2zM8 6.500v3M8 11.200v.1",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
