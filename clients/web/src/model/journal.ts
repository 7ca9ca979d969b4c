/**
 * What happened lately, newest first, for people.
 */

/** Entries that are kept. */
export const MAX_ENTRIES = 200;

/** How bad it is: `good` and `info` are no trouble, `warn` is, `bad` means that something is lost or over. */
export type Weight = "good" | "info" | "warn" | "bad";

/** One event. */
export interface Entry {
  /** Milliseconds since 1970, of the last time it happened. */
  readonly time: number;
  readonly weight: Weight;
  readonly text: string;
  /** How often in a row. */
  readonly times: number;
}

/** The last {@link MAX_ENTRIES} events. The same one again in a row is counted, not repeated. */
export class Journal {
  #entries: Entry[] = [];
  /** Counts up with every event. */
  version = 0;

  /** Newest first. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Adds an event. */
  add(weight: Weight, text: string, time: number): void {
    const last = this.#entries[0];
    this.version += 1;
    if (last !== undefined && last.text === text && last.weight === weight) {
      this.#entries[0] = { ...last, time, times: last.times + 1 };
      return;
    }
    this.#entries.unshift({ time, weight, text, times: 1 });
    if (this.#entries.length > MAX_ENTRIES) this.#entries.length = MAX_ENTRIES;
  }
}
