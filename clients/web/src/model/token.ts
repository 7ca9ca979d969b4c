/**
 * One token: its last price, how it got there, and how old that is.
 */

import type { Price } from "./payload.ts";
import { Points } from "./points.ts";
import { Rate } from "./rate.ts";

/** Which way the price went last. */
export type Direction = -1 | 0 | 1;

/** A token of the market. Its fields are written by the market only. */
export class Token {
  readonly name: string;
  price = NaN;
  /** Percent in 24 hours; `null`: its publisher does not say. */
  change: number | null = null;
  /** Value traded in 24 hours. */
  volume: number | null = null;
  /** The last change of the price that was one. */
  direction: Direction = 0;
  /** When that was, on the page's monotonic clock, milliseconds. */
  movedAt = -Infinity;
  /** When the last update came, on the same clock. */
  heardAt = -Infinity;
  /** Counts up with every update, so that a view knows whether it is behind. */
  version = 0;
  /** The line of its points is interrupted: what the price is at present was not known for a while. */
  broken = false;
  readonly rate = new Rate();
  readonly points = new Points();

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Takes a price.
   *
   * @param now - monotonic, milliseconds
   * @param time - of the point on the chart, milliseconds since 1970
   * @param moves - whether a change of the price is one the reader should see; not so for a snapshot
   */
  take(price: Price, now: number, time: number, moves: boolean): void {
    if (moves && price.price !== this.price && !Number.isNaN(this.price)) {
      this.direction = price.price > this.price ? 1 : -1;
      this.movedAt = now;
    }
    this.price = price.price;
    this.change = price.change ?? this.change;
    this.volume = price.volume ?? this.volume;
    this.heardAt = now;
    this.version += 1;
    this.broken = false;
    this.points.add(time, price.price);
  }

  /** The price is known up to `time`, and not from then on. */
  break(time: number): void {
    if (this.points.length === 0 || this.broken) return;
    this.broken = true;
    this.points.add(time, this.price);
    this.points.break(time);
  }

  /** The price at `time` is known to be still the last one. */
  mend(time: number): void {
    if (!this.broken) return;
    this.broken = false;
    this.version += 1;
    this.points.add(time, this.price);
  }
}
