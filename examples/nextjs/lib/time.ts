// How long a day or a minute is. In real life functions may sleep for months; to watch one work, set DEMO_SPEED to how many
// times faster than that its sleeps shall pass.

const MINUTE = 60 * 1000;

/** So many days, in milliseconds, divided by DEMO_SPEED. */
export const days = (n: number) => minutes(n * 24 * 60);

/** So many minutes, as above. */
export function minutes(n: number) {
  const speed = Number(process.env.DEMO_SPEED ?? 1);
  if (!(speed > 0)) throw new Error(`DEMO_SPEED must be a positive number, not ${process.env.DEMO_SPEED}`);
  return Math.ceil((n * MINUTE) / speed);
}
