/**
 * Every token that was heard of, and what all of them together do. Written as messages come; views read it when they draw.
 */

import { Latency } from "./latency.ts";
import { readPrice } from "./payload.ts";
import { Rate } from "./rate.ts";
import { Token } from "./token.ts";

/** Tokens that are kept. What comes of others is counted, and the page says so. */
export const MAX_TOKENS = 5_000;

/** A publication of a price channel. */
export interface PriceUpdate {
  /** The concrete channel: `price:BTC`. */
  readonly channel: string;
  readonly data: unknown;
  /** When the stream stored it, milliseconds since 1970. */
  readonly ts: number;
  /** The last stored value, not news. */
  readonly snapshot: boolean;
}

/** The tokens, their updates per second, and how long those took. */
export class Market {
  readonly tokens = new Map<string, Token>();
  /** Updates of all tokens. */
  readonly rate = new Rate();
  readonly latency = new Latency();
  /** Updates since the page was opened. */
  updates = 0;
  /** Updates of tokens beyond {@link MAX_TOKENS}. */
  beyond = 0;
  /** Updates without a usable price. */
  unreadable = 0;
  /** Counts up when a token is new. */
  members = 0;
  /** This clock less the stream's, as the last update shows it, milliseconds; the way here is in it. */
  offset = 0;
  /** When the last update came, milliseconds since 1970; 0: never. */
  heardAt = 0;

  /**
   * Takes an update.
   *
   * @param now - monotonic, milliseconds
   * @param wall - milliseconds since 1970
   * @returns the token, or `null` if the update is of no use here
   */
  take(update: PriceUpdate, now: number, wall: number): Token | null {
    this.rate.add();
    this.updates += 1;
    this.heardAt = wall;
    const price = readPrice(update.data);
    if (price === null) {
      this.unreadable += 1;
      return null;
    }
    const token = this.#token(update.channel);
    if (token === null) {
      this.beyond += 1;
      return null;
    }
    if (update.snapshot) {
      // heard now, but as old as the stream says
      const old = Math.max(0, wall - update.ts);
      token.take(price, now - old, update.ts, false);
      return token;
    }
    this.offset = wall - update.ts;
    if (price.timestamp !== null) this.latency.add(wall - price.timestamp);
    token.rate.add();
    token.take(price, now, wall, true);
    return token;
  }

  /** So many seconds are over. */
  roll(seconds: number): void {
    this.rate.roll(seconds);
    this.latency.roll(seconds);
    for (const token of this.tokens.values()) token.rate.roll(seconds);
  }

  /** The values are known up to the last update, and not from then on until the next one of each token. */
  break(): void {
    for (const token of this.tokens.values()) token.break(this.heardAt);
  }

  /** Values have been fresh for a while: what no update came for has not changed. */
  mend(time: number): void {
    for (const token of this.tokens.values()) token.mend(time);
  }

  /** Forgets everything: another gateway's market. */
  clear(): void {
    this.tokens.clear();
    this.rate.clear();
    this.latency.clear();
    this.updates = 0;
    this.beyond = 0;
    this.unreadable = 0;
    this.heardAt = 0;
    this.members += 1;
  }

  #token(channel: string): Token | null {
    const name = channel.slice(channel.indexOf(":") + 1);
    let token = this.tokens.get(name);
    if (token === undefined) {
      if (this.tokens.size >= MAX_TOKENS) return null;
      token = new Token(name);
      this.tokens.set(name, token);
      this.members += 1;
    }
    return token;
  }
}
