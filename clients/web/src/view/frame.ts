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
  #asked = false;
  #last = -Infinity;
  /** Drawings so far. */
  frames = 0;

  /** Calls `paint` with every drawing. */
  add(paint: Paint): void {
    this.#paints.push(paint);
  }

  /** Asks for a drawing soon. */
  request(): void {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(this.#draw);
  }

  readonly #draw = (): void => {
    const now = performance.now();
    if (now - this.#last < MIN_FRAME_MS - 2) {
      requestAnimationFrame(this.#draw);
      return;
    }
    this.#asked = false;
    this.#last = now;
    this.frames += 1;
    for (const paint of this.#paints) paint(now);
  };
}
