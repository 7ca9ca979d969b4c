/**
 * One drawing for everything that happened since the last one, when the browser draws anyway.
 */

/** Least time between two drawings, milliseconds: nobody reads numbers that change more often than 25 times a second. */
export const MIN_FRAME_MS = 40;

/** Something that can bring what it shows up to date. It is told the monotonic time in milliseconds. */
export type Paint = (now: number) => void;

/** Collects wishes to draw. A page that is hidden draws nothing and keeps nothing for later but the state of its model. */
export class Frame {
  readonly #paints: Paint[] = [];
  readonly #clock: () => number;
  #asked = false;
  #last = -Infinity;

  /** @param clock - for the time that is told to drawings, milliseconds */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Calls `paint` with every drawing. */
  add(paint: Paint): void {
    this.#paints.push(paint);
  }

  /** Asks for a drawing soon. */
  request(): void {
    if (this.#asked) return;
    this.#asked = true;
    const wait = this.#last + MIN_FRAME_MS - performance.now();
    // a frame that is asked for is prepared by the browser even if nothing is drawn in it
    if (wait > 0) setTimeout(() => requestAnimationFrame(this.#draw), wait);
    else requestAnimationFrame(this.#draw);
  }

  readonly #draw = (): void => {
    this.#asked = false;
    this.#last = performance.now();
    const time = this.#clock();
    for (const paint of this.#paints) paint(time);
  };
}
