/**
 * How good the delivery is: latencies of the last minute, and everything that went other than straight.
 */

import { byId, make, setAttribute, Text, text } from "../dom.ts";
import { count, duration, NOTHING, rate } from "../format.ts";
import { BARS, BOUNDS, type LatencyFigures } from "../model/latency.ts";

/** What is counted since the page was opened. */
export interface Counters {
  updates: number;
  perSecond: number;
  gaps: number;
  resumes: number;
  anew: number;
  reconnects: number;
  /** Updates that came again after a resume and were dropped. */
  overlaps: number;
  /** Connections of the cluster; `null`: not known. */
  clients: number | null;
}

const COUNTERS: readonly (readonly [keyof Counters, string, string])[] = [
  ["perSecond", "Updates/s", "mean over five seconds"],
  ["updates", "Updates", "prices since the page was opened"],
  ["gaps", "Gaps", "announced losses"],
  ["reconnects", "Reconnects", "connections after the first"],
  ["resumes", "Resumed", "subscriptions that went on where they were"],
  ["anew", "Begun anew", "subscriptions that could not go on and began with a snapshot"],
  ["overlaps", "Overlap", "updates that came twice after a resume and were dropped"],
  ["clients", "Clients", "connections of the whole cluster, when this one began"],
];

/** Shows latencies and counters. */
export class FeedView {
  readonly #latency = new Map<string, Text>();
  readonly #counters = new Map<keyof Counters, Text>();
  readonly #bars: HTMLElement[] = [];
  readonly #histogram = byId("histogram", HTMLElement);
  readonly #skew = byId("skew", HTMLElement);
  readonly #skewText = text("skew-text");
  #described = 0;

  constructor() {
    const facts = byId("latency-facts", HTMLElement);
    for (const name of ["Now", "Half within", "99 % within"]) {
      this.#latency.set(name, fact(facts, name));
    }
    for (let bar = 0; bar < BARS; bar += 1) {
      const column = make("div", "column");
      const fill = make("div", "fill");
      column.append(fill);
      const bound = BOUNDS[bar];
      column.append(make("span", "bound", bound === undefined ? "+" : tick(bound)));
      this.#histogram.append(column);
      this.#bars.push(fill);
    }
    const list = byId("counters", HTMLElement);
    for (const [key, name, title] of COUNTERS) {
      const value = fact(list, name);
      if (value.element.parentElement !== null) value.element.parentElement.title = title;
      this.#counters.set(key, value);
    }
  }

  /** Shows what is known; to be called about once in a second. */
  show(figures: LatencyFigures, counters: Counters, fresh: boolean): void {
    const known = figures.samples > 0;
    this.#latency.get("Now")?.set(fresh && figures.now !== null ? duration(figures.now) : NOTHING);
    this.#latency.get("Half within")?.set(figures.p50 === null ? NOTHING : duration(figures.p50));
    this.#latency.get("99 % within")?.set(figures.p99 === null ? NOTHING : duration(figures.p99));
    const most = Math.max(1, ...figures.bars);
    for (const [at, bar] of this.#bars.entries()) {
      const size = figures.bars[at] ?? 0;
      // what is there at all is seen
      const height = size === 0 ? 0 : Math.max(0.04, size / most);
      const transform = `scaleY(${height.toFixed(3)})`;
      if (bar.style.transform !== transform) bar.style.transform = transform;
    }
    this.#showSkew(figures);
    for (const [key] of COUNTERS) {
      const value = counters[key];
      const shown = key === "perSecond" ? (fresh ? rate(value ?? 0) : NOTHING) : value === null ? NOTHING : count(value);
      const field = this.#counters.get(key);
      field?.set(shown);
      field?.element.classList.toggle("bad", (key === "gaps" || key === "anew") && value !== null && value > 0);
    }
    const now = Date.now();
    if (now - this.#described > 10_000) {
      this.#described = now;
      setAttribute(this.#histogram, "aria-label", known ? describe(figures) : "Latencies: nothing yet");
    }
  }

  #showSkew(figures: LatencyFigures): void {
    const { skew, skewed, samples } = figures;
    this.#skew.hidden = skew === null;
    if (skew === null) return;
    const side = skew < 0 ? "ahead of" : "behind";
    this.#skewText.set(
      `clock skew: ${count(skewed)} of ${count(skewed + samples)} updates come from a clock ${duration(Math.abs(skew))} ${side} this one`,
    );
  }
}

function fact(list: HTMLElement, name: string): Text {
  const group = make("div");
  const value = make("dd", "", NOTHING);
  group.append(make("dt", "", name), value);
  list.append(group);
  return new Text(value);
}

function tick(bound: number): string {
  return bound >= 100 ? `${bound / 1_000}s`.replace("0.", ".") : String(bound);
}

function describe(figures: LatencyFigures): string {
  const p50 = figures.p50 === null ? NOTHING : duration(figures.p50);
  const p99 = figures.p99 === null ? NOTHING : duration(figures.p99);
  return `Latencies of the last minute: half within ${p50}, 99 % within ${p99}, of ${count(figures.samples)} updates`;
}
