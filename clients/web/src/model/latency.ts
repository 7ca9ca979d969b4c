/**
 * From the publisher's clock to this page: quantiles and a histogram of the last minute, and what cannot be true.
 *
 * The two clocks are different ones. A difference below zero or above an hour is no latency but a clock that is wrong: it is
 * counted apart, and never mixed into the figures.
 */

/** Upper bounds of the histogram's bars, milliseconds; the last bar has none. */
export const BOUNDS: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
/** Bars of the histogram. */
export const BARS = BOUNDS.length + 1;
/** What is older than this many seconds is forgotten. */
export const LATENCY_SECONDS = 60;
/** A difference above this is a clock, not a wire: one hour. */
export const SKEW_MS = 3_600_000;

/** What is known at present. */
export interface LatencyFigures {
  /** Samples of the last minute that may be true. */
  readonly samples: number;
  /** The mean of the last whole second that had any, milliseconds; `null` if the last five had none. */
  readonly now: number | null;
  /** Half of the samples were at most this, milliseconds, to the bar. */
  readonly p50: number | null;
  /** 99 of 100 samples were at most this. */
  readonly p99: number | null;
  /** Samples for each bar. */
  readonly bars: readonly number[];
  /** Samples of the last minute that cannot be true. */
  readonly skewed: number;
  /** The last of those, milliseconds; negative: the publisher's clock is ahead of this one. */
  readonly skew: number | null;
}

/** A minute of samples. The caller's clock says when a second is over. */
export class Latency {
  readonly #bars = new Uint32Array(BARS * LATENCY_SECONDS);
  readonly #skewed = new Uint32Array(LATENCY_SECONDS);
  readonly #sums = new Float64Array(LATENCY_SECONDS);
  #at = 0;
  #skew: number | null = null;

  /** Takes one difference, milliseconds. */
  add(ms: number): void {
    if (ms < 0 || ms > SKEW_MS) {
      this.#skewed[this.#at] = (this.#skewed[this.#at] ?? 0) + 1;
      this.#skew = ms;
      return;
    }
    const bar = this.#at * BARS + barOf(ms);
    this.#bars[bar] = (this.#bars[bar] ?? 0) + 1;
    this.#sums[this.#at] = (this.#sums[this.#at] ?? 0) + ms;
  }

  /** The running second is over, and `seconds` - 1 empty ones after it. */
  roll(seconds = 1): void {
    for (let second = 0; second < Math.min(seconds, LATENCY_SECONDS); second += 1) {
      this.#at = (this.#at + 1) % LATENCY_SECONDS;
      this.#bars.fill(0, this.#at * BARS, (this.#at + 1) * BARS);
      this.#skewed[this.#at] = 0;
      this.#sums[this.#at] = 0;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#bars.fill(0);
    this.#skewed.fill(0);
    this.#sums.fill(0);
    this.#skew = null;
  }

  /** What is known at present. */
  figures(): LatencyFigures {
    const bars = new Array<number>(BARS).fill(0);
    for (let index = 0; index < this.#bars.length; index += 1) {
      bars[index % BARS] = (bars[index % BARS] ?? 0) + (this.#bars[index] ?? 0);
    }
    const samples = bars.reduce((sum, bar) => sum + bar, 0);
    const skewed = this.#skewed.reduce((sum, second) => sum + second, 0);
    return {
      samples,
      now: this.#now(),
      p50: quantile(bars, samples, 0.5),
      p99: quantile(bars, samples, 0.99),
      bars,
      skewed,
      skew: skewed > 0 ? this.#skew : null,
    };
  }

  #now(): number | null {
    for (let back = 1; back <= 5; back += 1) {
      const at = (this.#at - back + LATENCY_SECONDS) % LATENCY_SECONDS;
      const samples = this.#bars.subarray(at * BARS, (at + 1) * BARS).reduce((sum, bar) => sum + bar, 0);
      if (samples > 0) return (this.#sums[at] ?? 0) / samples;
    }
    return null;
  }
}

/** The bar of a latency: the first whose bound is not below it. */
export function barOf(ms: number): number {
  const bar = BOUNDS.findIndex((bound) => ms <= bound);
  return bar === -1 ? BOUNDS.length : bar;
}

/** The bound of the bar in which the quantile lies; the last bar counts as twice the last bound. */
function quantile(bars: readonly number[], samples: number, share: number): number | null {
  if (samples === 0) return null;
  let left = Math.ceil(samples * share);
  for (const [bar, size] of bars.entries()) {
    left -= size;
    if (left <= 0) return BOUNDS[bar] ?? (BOUNDS[BOUNDS.length - 1] ?? 0) * 2;
  }
  return null;
}
