/**
 * A clock for ages: never set back, and not stopped by sleep.
 *
 * The browser's own monotonic clock stands still on some systems while the computer sleeps, so that an hour-old price would
 * look fresh when it wakes up. Where the wall clock has gone further than the monotonic one, the difference is taken as
 * sleep. If it was set forward instead, prices look older than they are until their next update, which does no harm.
 */

/** Differences below this are no sleep but the adjustment of a clock, milliseconds. */
const SLEEP_MS = 3_000;

/** See the file. Milliseconds since some moment. */
export class Monotonic {
  readonly #steady: () => number;
  readonly #wall: () => number;
  #slept = 0;
  #steadyAt: number;
  #wallAt: number;

  /**
   * @param steady - never set back, may stand still in sleep
   * @param wall - milliseconds since 1970
   */
  constructor(steady: () => number = () => performance.now(), wall: () => number = () => Date.now()) {
    this.#steady = steady;
    this.#wall = wall;
    this.#steadyAt = steady();
    this.#wallAt = wall();
  }

  /** The time. */
  now(): number {
    return this.#steady() + this.#slept;
  }

  /**
   * Looks whether there was sleep since the last look; to be called every now and then.
   *
   * @returns how long, 0 if there was none
   */
  look(): number {
    const steady = this.#steady();
    const wall = this.#wall();
    const asleep = wall - this.#wallAt - (steady - this.#steadyAt);
    this.#steadyAt = steady;
    this.#wallAt = wall;
    if (asleep < SLEEP_MS) return 0;
    this.#slept += asleep;
    return asleep;
  }
}
