/**
 * The chosen token, large: its line over the last minutes, up to now. Where values were not known there is no line, and a
 * hatched band says so.
 */

import uPlot from "uplot";
import { byId, make, setAttribute, Text, text } from "../dom.ts";
import { age, amount, clock, decimalsOf, NOTHING, percent, price } from "../format.ts";
import type { Token } from "../model/token.ts";
import { CHART_CHOICES } from "../settings.ts";
import type { Frame } from "./frame.ts";
import type { Palette } from "./palette.ts";

/** Least time between two drawings of the chart, milliseconds. */
const EVERY_MS = 250;
/** How often the description for screen readers is written anew, milliseconds. */
const DESCRIBE_MS = 10_000;

type Range = [from: number, until: number];

/** The chart and the figures around it. */
export class Chart {
  readonly #plot = byId("plot", HTMLElement);
  readonly #title = text("chart-title");
  readonly #price = text("chart-price");
  readonly #change = text("chart-change");
  readonly #facts = new Map<string, Text>();
  readonly #palette: Palette;
  readonly #frame: Frame;
  readonly #buttons: HTMLButtonElement[] = [];
  #uplot: uPlot | null = null;
  #token: Token | null = null;
  #minutes: number;
  #paintedAt = -Infinity;
  #describedAt = -Infinity;
  #colours = -1;
  #fresh = false;
  /** Since when values are not known, seconds since 1970; `null`: they are. */
  #unknownSince: number | null = null;
  /** Bands to hatch, seconds since 1970. */
  #breaks: Range[] = [];

  /** @param picked - is told how many minutes were chosen */
  constructor(frame: Frame, palette: Palette, minutes: number, picked: (minutes: number) => void) {
    this.#frame = frame;
    this.#palette = palette;
    this.#minutes = minutes;
    const spans = byId("chart-spans", HTMLElement);
    for (const choice of CHART_CHOICES) {
      const button = make("button", "segment", `${choice} min`);
      button.type = "button";
      button.setAttribute("aria-pressed", String(choice === minutes));
      button.addEventListener("click", () => {
        this.#minutes = choice;
        for (const other of this.#buttons) setAttribute(other, "aria-pressed", String(other === button));
        this.#paintedAt = -Infinity;
        picked(choice);
        frame.request();
      });
      this.#buttons.push(button);
      spans.append(button);
    }
    const list = byId("chart-facts", HTMLElement);
    for (const name of ["Low", "High", "Volume 24 h", "Last update"]) {
      const group = make("div");
      const value = make("dd", "", NOTHING);
      group.append(make("dt", "", name), value);
      list.append(group);
      this.#facts.set(name, new Text(value));
    }
    new ResizeObserver(() => this.#resize()).observe(this.#plot);
    frame.add((now) => this.#paint(now));
  }

  /** Shows another token. */
  show(token: Token | null): void {
    if (token === this.#token) return;
    this.#token = token;
    this.#paintedAt = -Infinity;
    this.#describedAt = -Infinity;
    if (token === null) this.#blank();
    this.#frame.request();
  }

  #blank(): void {
    this.#title.set("Chart");
    this.#price.set("");
    this.#change.set("");
    for (const fact of this.#facts.values()) fact.set(NOTHING);
    this.#breaks = [];
    this.#uplot?.setData([[], []]);
    setAttribute(this.#plot, "aria-label", "No token chosen");
  }

  /**
   * Whether the values are the present ones.
   *
   * @param known - up to when they are known, milliseconds since 1970
   */
  setFresh(fresh: boolean, known: number): void {
    if (fresh === this.#fresh) return;
    this.#fresh = fresh;
    this.#unknownSince = fresh ? null : known / 1_000;
    this.#paintedAt = -Infinity;
    this.#frame.request();
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.#plot;
    if (width === 0 || height === 0) return;
    if (this.#uplot === null) this.#make(width, height);
    else this.#uplot.setSize({ width, height });
    this.#frame.request();
  }

  #make(width: number, height: number): void {
    this.#uplot?.destroy();
    this.#colours = this.#palette.version;
    const colour = (name: Parameters<Palette["colour"]>[0]) => (): string => this.#palette.colour(name);
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const stepped = uPlot.paths.stepped?.({ align: 1 });
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font };
    this.#uplot = new uPlot(
      {
        width,
        height,
        padding: [10, 4, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        scales: { x: { time: true, auto: false }, y: { range: (_, low, high) => around(low, high) } },
        axes: [
          { ...axis, size: 24, gap: 4, space: 80, values: (plot, splits) => splits.map((split) => mark(plot, split)) },
          {
            ...axis,
            side: 1,
            size: (_, labels) => 14 + 6.5 * Math.max(6, ...(labels ?? []).map((label) => label.length)),
            gap: 6,
            space: 34,
            values: (_, splits) => splits.map((split) => price(split, this.#decimals(splits))),
          },
        ],
        series: [
          {},
          {
            stroke: () => this.#palette.colour(this.#fresh ? "accent" : "muted"),
            width: 1.5,
            fill: () => (this.#fresh ? this.#palette.colour("accent-soft") : "transparent"),
            points: { show: false },
            // a price stays what it is until the next one
            ...(stepped === undefined ? {} : { paths: stepped }),
            spanGaps: false,
          },
        ],
        hooks: { drawClear: [(plot) => this.#hatch(plot)] },
      },
      [[], []],
      this.#plot,
    );
  }

  /** Decimals that tell the axis's marks apart, and not more than the price has. */
  #decimals(splits: readonly number[]): number {
    const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0)) || 1;
    const needed = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
    return Math.min(Math.max(2, needed), decimalsOf(this.#token?.price ?? 1));
  }

  #paint(now: number): void {
    const token = this.#token;
    if (token === null) return;
    this.#paintQuote(token, now);
    if (this.#uplot !== null && now - this.#paintedAt >= EVERY_MS) this.#paintPlot(token, now);
  }

  /** The figures that the table shows too: never another price there than here. */
  #paintQuote(token: Token, now: number): void {
    this.#title.set(token.name);
    this.#price.set(Number.isNaN(token.price) ? NOTHING : price(token.price));
    const { change } = token;
    if (this.#change.set(change === null ? "" : `${change < 0 ? "▼" : change > 0 ? "▲" : ""} ${percent(change)}`.trim())) {
      this.#change.element.className = `move ${change === null || change === 0 ? "" : change < 0 ? "down" : "up"}`;
    }
    this.#set("Volume 24 h", token.volume === null ? NOTHING : amount(token.volume));
    this.#set("Last update", Number.isFinite(token.heardAt) ? since(now - token.heardAt) : NOTHING);
  }

  #paintPlot(token: Token, now: number): void {
    this.#paintedAt = now;
    if (this.#colours !== this.#palette.version) {
      this.#make(this.#plot.clientWidth, this.#plot.clientHeight);
    }
    const until = Date.now() / 1_000;
    const from = this.#from(token, until);
    const [times, values, low, high] = this.#line(token, from, until);
    this.#uplot?.batch(() => {
      this.#uplot?.setData([times, values], false);
      this.#uplot?.setScale("x", { min: from, max: until });
    });
    this.#set("Low", low > high ? NOTHING : price(low, decimalsOf(token.price)));
    this.#set("High", low > high ? NOTHING : price(high, decimalsOf(token.price)));
    if (now - this.#describedAt >= DESCRIBE_MS) {
      this.#describedAt = now;
      setAttribute(this.#plot, "aria-label", this.#describe(token, low, high));
    }
  }

  /** The left edge: a line that is young fills the chart as it grows, but not before it has a minute. */
  #from(token: Token, until: number): number {
    const whole = until - this.#minutes * 60;
    const oldest = token.points.length === 0 ? until : token.points.time(0) / 1_000;
    return Math.max(whole, Math.min(oldest, until - 60));
  }

  #line(token: Token, from: number, until: number): [number[], (number | null)[], number, number] {
    const times: number[] = [];
    const values: (number | null)[] = [];
    let low = Infinity;
    let high = -Infinity;
    this.#breaks = [];
    const { points } = token;
    let unknown: number | null = null;
    // one before the edge, so that the line begins there
    for (let index = Math.max(0, points.indexAt(from * 1_000) - 1); index < points.length; index += 1) {
      const time = points.time(index) / 1_000;
      const value = points.value(index);
      times.push(time);
      if (Number.isNaN(value)) {
        values.push(null);
        unknown = time;
        continue;
      }
      values.push(value);
      if (unknown !== null) this.#breaks.push([unknown, time]);
      unknown = null;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (this.#fresh && unknown === null && points.length > 0) {
      // no update since then means that the price is still the same
      times.push(until);
      values.push(token.price);
    } else if (!this.#fresh) {
      this.#breaks.push([unknown ?? this.#unknownSince ?? until, until]);
    } else if (unknown !== null) {
      this.#breaks.push([unknown, until]);
    }
    return [times, values, low, high];
  }

  #hatch(plot: uPlot): void {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const [from, until] of this.#breaks) {
      const x = plot.valToPos(from, "x", true);
      const end = plot.valToPos(until, "x", true);
      if (end - x < 1) continue;
      ctx.save();
      ctx.beginPath();
      ctx.rect(x, top, end - x, height);
      ctx.clip();
      ctx.strokeStyle = this.#palette.colour("hatch");
      ctx.lineWidth = devicePixelRatio;
      const step = 7 * devicePixelRatio;
      ctx.beginPath();
      for (let at = x - height - (x % step); at < end; at += step) {
        ctx.moveTo(at, top + height);
        ctx.lineTo(at + height, top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
  }

  #describe(token: Token, low: number, high: number): string {
    if (low > high) return `${token.name}: no prices in the last ${this.#minutes} minutes`;
    const span = `${this.#minutes} minute${this.#minutes === 1 ? "" : "s"}`;
    return `${token.name} over the last ${span}: ${price(token.price)}, lowest ${price(low)}, highest ${price(high)}${
      this.#fresh ? "" : ", not fresh"
    }`;
  }

  #set(name: string, value: string): void {
    this.#facts.get(name)?.set(value);
  }
}

/** A mark of the time axis; none so close to the edge that it would be cut. */
function mark(plot: uPlot, split: number): string {
  const at = plot.valToPos(split, "x");
  return at < 22 || at > plot.over.clientWidth - 22 ? "" : clock(split * 1_000);
}

function since(ms: number): string {
  return ms < 1_000 ? "now" : `${age(ms)} ago`;
}

/** A little room above and below; a price that does not move gets a scale all the same. */
function around(low: number | null, high: number | null): Range {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const room = high === low ? Math.abs(high) * 0.001 || 1 : (high - low) * 0.12;
  return [low - room, high + room];
}
