// The time axis of a waterfall.
//
// A run that works for a second, sleeps for a week and works for another second would be two hairlines on an even axis.
// Long spans in which nothing ran are therefore drawn short, and marked as such.

export interface Span {
  from: number;
  to: number;
}

export interface Gap extends Span {
  left: number; // where it is drawn, 0 to 1
  right: number;
}

export interface Scale {
  from: number;
  to: number;
  gaps: Gap[];
  at: (t: number) => number; // 0 to 1
}

/** makeScale lays the time between from and to out over 0 to 1; busy are the spans in which something ran. */
export function makeScale(from: number, to: number, busy: Span[]): Scale {
  to = Math.max(to, from + 1);
  const merged: Span[] = [];
  for (const s of busy.map((s) => ({ from: Math.max(from, s.from), to: Math.min(to, s.to) })).filter((s) => s.to >= s.from).sort((a, b) => a.from - b.from)) {
    const last = merged[merged.length - 1];
    if (last && s.from <= last.to) last.to = Math.max(last.to, s.to);
    else merged.push({ ...s });
  }
  const work = merged.reduce((sum, s) => sum + s.to - s.from, 0);
  // A gap may be as wide as all work together, but no gap is drawn short that would fit anyway.
  const most = Math.max(work, (to - from) / 50, 20);

  const pieces: { from: number; to: number; width: number; short: boolean }[] = [];
  const add = (a: number, b: number, idle: boolean) => {
    if (b <= a) return;
    const short = idle && b - a > 3 * most && merged.length > 0;
    pieces.push({ from: a, to: b, width: short ? most : b - a, short });
  };
  let t = from;
  for (const s of merged) {
    add(t, s.from, true);
    add(s.from, s.to, false);
    t = Math.max(t, s.to);
  }
  add(t, to, true);

  const total = pieces.reduce((sum, p) => sum + p.width, 0);
  const starts: number[] = [];
  let x = 0;
  for (const p of pieces) {
    starts.push(x);
    x += p.width / total;
  }
  const at = (time: number): number => {
    if (time <= from) return 0;
    if (time >= to) return 1;
    const i = pieces.findIndex((p) => time <= p.to);
    const p = pieces[i];
    if (!p) return 1;
    return (starts[i] ?? 0) + (((time - p.from) / (p.to - p.from)) * p.width) / total;
  };
  const gaps = pieces.filter((p) => p.short).map((p) => ({ from: p.from, to: p.to, left: at(p.from), right: at(p.to) }));
  return { from, to, gaps, at };
}
