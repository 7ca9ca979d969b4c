/**
 * The market in one line: volume, breadth, sentiment, the best and the worst token.
 */

import { byId, make, Text } from "../dom.ts";
import { age, amount, count, NOTHING, percent, words } from "../format.ts";
import { number, object, type Payload, string } from "../model/payload.ts";
import type { Frame } from "./frame.ts";

type Fact = "volume" | "trades" | "breadth" | "sentiment" | "gainer" | "loser" | "average" | "market" | "source";

const FACTS: readonly (readonly [Fact, string])[] = [
  ["volume", "Volume 24 h"],
  ["trades", "Trades 24 h"],
  ["breadth", "Up / down"],
  ["sentiment", "Sentiment"],
  ["average", "Mean change"],
  ["gainer", "Best"],
  ["loser", "Worst"],
  ["market", "Market"],
  ["source", "Source"],
];

/** Shows the channels `market:*` and `system:health`. */
export class Strip {
  readonly #latest = new Map<string, Payload>();
  readonly #values = new Map<Fact, Text>();
  readonly #bar: HTMLElement;
  readonly #meter: HTMLElement;
  #heardAt = 0;
  #dirty = false;
  readonly #age: Text;

  /** @param choose - is told the token that was clicked */
  constructor(frame: Frame, choose: (name: string) => void) {
    const list = make("dl", "strip-facts");
    for (const [fact, name] of FACTS) {
      const group = make("div", `strip-fact fact-${fact}`);
      const value = make("dd", "", NOTHING);
      group.append(make("dt", "", name), value);
      list.append(group);
      this.#values.set(fact, new Text(this.#button(fact, value, choose)));
    }
    this.#bar = this.#gauge("breadth");
    this.#meter = this.#gauge("sentiment");
    const note = make("p", "strip-age");
    this.#age = new Text(note);
    byId("strip", HTMLElement).append(list, note);
    frame.add(() => this.#paint());
  }

  /**
   * Takes an update.
   *
   * @param time - milliseconds since 1970
   */
  take(channel: string, data: unknown, time: number): void {
    const payload = object(data);
    if (payload === null) return;
    this.#latest.set(channel, payload);
    this.#heardAt = Math.max(this.#heardAt, time);
    this.#dirty = true;
  }

  /** Forgets everything: another gateway's market. */
  clear(): void {
    this.#latest.clear();
    this.#heardAt = 0;
    this.#dirty = true;
  }

  /** Says how old the line is if that is worth saying. */
  showAge(now: number, fresh: boolean): void {
    const old = this.#heardAt > 0 && now - this.#heardAt >= 1_000 && (!fresh || now - this.#heardAt > 30_000);
    this.#age.set(old ? `${age(now - this.#heardAt)} old` : "");
  }

  #button(fact: Fact, value: HTMLElement, choose: (name: string) => void): HTMLElement {
    if (fact !== "gainer" && fact !== "loser") return value;
    value.textContent = "";
    const button = make("button", "link", NOTHING);
    button.type = "button";
    button.addEventListener("click", () => {
      const name = string(this.#mover(fact), "tokenId", 64);
      if (name !== null) choose(name);
    });
    value.append(button);
    return button;
  }

  #gauge(fact: Fact): HTMLElement {
    const gauge = make("span", `gauge gauge-${fact}`);
    gauge.setAttribute("aria-hidden", "true");
    const fill = make("span", "gauge-fill");
    gauge.append(fill);
    this.#values.get(fact)?.element.after(gauge);
    return fill;
  }

  #of(channel: string): Payload {
    return this.#latest.get(channel) ?? {};
  }

  #mover(fact: "gainer" | "loser"): Payload {
    return object(this.#of("market:summary")[fact === "gainer" ? "topGainer" : "topLoser"]) ?? {};
  }

  #paint(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    const summary = this.#of("market:summary");
    const volume = this.#of("market:volume");
    const statistics = this.#of("market:statistics");
    const sentiment = this.#of("market:sentiment");
    this.#set("volume", first(volume, summary, "totalVolume24h", (value) => amount(value)));
    this.#set("trades", first(volume, statistics, "totalTrades24h", count));
    const up = number(summary, "advancing");
    const down = number(summary, "declining");
    this.#set("breadth", up === null || down === null ? NOTHING : `▲ ${count(up)}  ▼ ${count(down)}`);
    this.#bar.style.transform = `scaleX(${share(up, down)})`;
    const score = number(sentiment, "score");
    this.#set("sentiment", score === null ? NOTHING : `${count(score)} ${words(string(sentiment, "label", 20) ?? "")}`.trim());
    this.#meter.style.transform = `scaleX(${score === null ? 0 : Math.max(0, Math.min(1, score / 100))})`;
    this.#set("average", first(statistics, statistics, "averageChange24h", percent));
    for (const fact of ["gainer", "loser"] as const) {
      const mover = this.#mover(fact);
      const change = number(mover, "priceChange24h");
      const name = string(mover, "tokenId", 16);
      this.#set(fact, name === null ? NOTHING : change === null ? name : `${name} ${percent(change)}`);
    }
    this.#set("market", words(string(this.#of("market:status"), "status", 20) ?? NOTHING));
    const health = this.#of("system:health");
    const state = string(health, "status", 20);
    const source = string(health, "source", 20);
    this.#set("source", state === null ? NOTHING : source === null ? words(state) : `${words(source)}: ${words(state)}`);
  }

  #set(fact: Fact, value: string): void {
    this.#values.get(fact)?.set(value);
  }
}

/** The first of two payloads that has the number. */
function first(a: Payload, b: Payload, member: string, show: (value: number) => string): string {
  const value = number(a, member) ?? number(b, member);
  return value === null ? NOTHING : show(value);
}

function share(up: number | null, down: number | null): number {
  const sum = (up ?? 0) + (down ?? 0);
  return sum <= 0 ? 0 : Math.max(0, Math.min(1, (up ?? 0) / sum));
}
