/**
 * How often something happens, as a mean over the last seconds.
 */

/** Seconds the mean goes over. */
export const RATE_SECONDS = 5;

/** Counts in whole seconds. The caller's clock says when a second is over. */
export class Rate {
  readonly #seconds = new Uint32Array(RATE_SECONDS);
  #now = 0;
  #sum = 0;
  #seen = 0;
  #at = 0;

  /** Counts `times` more in the running second. */
  add(times = 1): void {
    this.#now += times;
  }

  /** The running second is over, and `seconds` - 1 empty ones after it. */
  roll(seconds = 1): void {
    for (let second = 0; second < Math.min(seconds, RATE_SECONDS + 1); second += 1) {
      this.#sum += this.#now - (this.#seconds[this.#at] ?? 0);
      this.#seconds[this.#at] = this.#now;
      this.#now = 0;
      this.#at = (this.#at + 1) % RATE_SECONDS;
      this.#seen = Math.min(this.#seen + 1, RATE_SECONDS);
    }
  }

  /** Per second, over the last {@link RATE_SECONDS} whole seconds, or as many as there were. */
  get perSecond(): number {
    return this.#seen === 0 ? 0 : this.#sum / this.#seen;
  }

  /** Forgets everything. */
  clear(): void {
    this.#seconds.fill(0);
    this.#now = 0;
    this.#sum = 0;
    this.#seen = 0;
  }
}
