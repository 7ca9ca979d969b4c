/**
 * The recent past of one price: a ring of times and values that grows up to a bound and then forgets the oldest.
 */

/** Points closer together than this become one, with the last price: half a second. */
export const SPACING_MS = 500;
/** Points kept for one token: a quarter of an hour at full rate, longer for a quiet one. */
export const MAX_POINTS = 1_800;
/** Points kept for all tokens together, 16 bytes each. Beyond it rings stay as large as they are. */
export const MAX_TOTAL_POINTS = 1_500_000;

const FIRST_POINTS = 64;
let total = 0;

/** A ring of points. A value that is not a number is a break: what came before it does not lead to what comes after. */
export class Points {
  #times = new Float64Array(FIRST_POINTS);
  #values = new Float64Array(FIRST_POINTS);
  #first = 0;
  #length = 0;

  constructor() {
    total += FIRST_POINTS;
  }

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** Room for so many at present. */
  get capacity(): number {
    return this.#times.length;
  }

  /** The time of point `index`, 0 being the oldest. Milliseconds since 1970. */
  time(index: number): number {
    return this.#times[this.#at(index)] ?? NaN;
  }

  /** The value of point `index`. */
  value(index: number): number {
    return this.#values[this.#at(index)] ?? NaN;
  }

  /**
   * Adds a value at `time`, or replaces the last one if that is less than {@link SPACING_MS} older. A time before the last
   * one counts as that.
   */
  add(at: number, value: number): void {
    const last = this.#length - 1;
    const time = last >= 0 ? Math.max(at, this.time(last)) : at;
    if (last >= 0 && time - this.time(last) < SPACING_MS && !Number.isNaN(this.value(last))) {
      this.#values[this.#at(last)] = value;
      return;
    }
    this.#push(time, value);
  }

  /** Marks a break at `time`: the values between the last one and the next are not known. */
  break(at: number): void {
    const last = this.#length - 1;
    if (last >= 0 && !Number.isNaN(this.value(last))) this.#push(Math.max(at, this.time(last)), NaN);
  }

  /** The index of the first point at or after `time`; the length if there is none. */
  indexAt(time: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time(middle) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Puts older points in front, as many as there is room for; those not older than the oldest one here are left out.
   *
   * @param times - rising
   */
  prepend(times: readonly number[], values: readonly number[]): void {
    const until = this.#length > 0 ? this.time(0) : Infinity;
    const kept: [number, number][] = [];
    for (let index = 0; index < times.length; index += 1) {
      const time = times[index] ?? NaN;
      if (time < until) kept.push([time, values[index] ?? NaN]);
    }
    for (let index = 0; index < this.#length; index += 1) kept.push([this.time(index), this.value(index)]);
    this.#first = 0;
    this.#length = 0;
    for (const [time, value] of kept) {
      if (Number.isNaN(value)) this.break(time);
      else this.add(time, value);
    }
  }

  #push(time: number, value: number): void {
    if (this.#length === this.capacity && this.capacity < MAX_POINTS && total < MAX_TOTAL_POINTS) this.#grow();
    if (this.#length === this.capacity) {
      this.#first = (this.#first + 1) % this.capacity;
      this.#length -= 1;
    }
    const at = this.#at(this.#length);
    this.#times[at] = time;
    this.#values[at] = value;
    this.#length += 1;
  }

  #grow(): void {
    const capacity = Math.min(MAX_POINTS, this.capacity * 2);
    const times = new Float64Array(capacity);
    const values = new Float64Array(capacity);
    for (let index = 0; index < this.#length; index += 1) {
      times[index] = this.time(index);
      values[index] = this.value(index);
    }
    total += capacity - this.capacity;
    this.#times = times;
    this.#values = values;
    this.#first = 0;
  }

  #at(index: number): number {
    return (this.#first + index) % this.#times.length;
  }
}
