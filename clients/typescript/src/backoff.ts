/**
 * How long to wait before the next try: full jitter, so that a fleet of clients never comes back in step. It knows no
 * clock, and counts nothing: `n` is the number of tries since things were last good.
 */

/** How much longer than a "soon" a "later" may wait: 8 s instead of 0.5 s at first. */
const LATER = 16;

/** The longest that wait `n` = 0, 1, 2, … can be, in milliseconds. */
export const ceiling = (when: 'soon' | 'later', n: number, baseMs: number, capMs: number): number =>
  Math.min(capMs, baseMs * (when === 'later' ? LATER : 1) * 2 ** n);

/** Longest wait that a gateway can ask for, in milliseconds: a timer takes no number of any size. */
const MAX_PATIENCE_MS = 600_000;

/** The least wait that a gateway asks for; one more, for a timer may be a moment early. */
export const patience = (askedMs: number | undefined): number =>
  askedMs !== undefined && askedMs > 0 ? Math.min(askedMs, MAX_PATIENCE_MS) + 1 : 0;

/** A whole number of milliseconds from `from` to `to`, both included; `random` gives 0 to below 1. */
export const uniform = (random: () => number, from: number, to: number): number =>
  from + Math.floor(random() * (to - from + 1));
