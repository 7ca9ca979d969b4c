/**
 * The page's connection: one client of odin, the subscriptions the page lives on, and what of their events the page wants.
 *
 * A client cannot change its address, transports or token, so each change of those is a new client.
 */

import {
  connect,
  type Begin,
  type Connection,
  type End,
  type Gap,
  type Odin,
  type OdinError,
  type SignedIn,
  type State,
  type Subscription,
  type SystemNews,
  type Update,
} from "@odin/client";
import type { Prices } from "./model/status.ts";
import type { Settings } from "./settings.ts";

/** Channels about the whole market. */
export const MARKET_CHANNELS = [
  "market:summary",
  "market:volume",
  "market:sentiment",
  "market:statistics",
  "market:status",
  "system:health",
] as const;
/** Channels for those who have signed in. */
export const USER_CHANNELS = ["signals:all", "notifications"] as const;

/** Who is told what. */
export interface Listener {
  state(state: State | null): void;
  price(update: Update): void;
  market(update: Update): void;
  signal(update: Update): void;
  notification(update: Update): void;
  gap(gap: Gap): void;
  begin(begin: Begin): void;
  resume(begin: Begin): void;
  end(end: End): void;
  error(error: OdinError): void;
  system(news: SystemNews): void;
  auth(user: SignedIn): void;
}

/** Connects, and says what comes. */
export class Link {
  readonly #listener: Listener;
  #odin: Odin | null = null;
  #prices: Subscription[] = [];
  #refused: string | null = null;
  /** Those of clients that are closed. */
  #overlaps = 0;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  /** Where the client stands; `null`: there is none. */
  get state(): State | null {
    return this.#odin?.state ?? null;
  }

  /** The connection there is, fresh or not. */
  get connection(): Connection | null {
    const { state } = this;
    if (state === null) return null;
    if (state.status === "connected" || state.status === "fallback") return state;
    return state.status === "stale" ? state.connection : null;
  }

  /** Updates that came again after a resume and were dropped, of this client and those before it. */
  get overlaps(): number {
    return this.#overlaps + (this.#odin?.stats.overlaps ?? 0);
  }

  /** How the subscriptions to prices stand. */
  get prices(): Prices {
    const alive = this.#prices.filter((subscription) => subscription.status !== "ended");
    const stale = alive.map((subscription) => subscription.stale).find((found) => found !== undefined && found.reason !== "away");
    return {
      pending: alive.some((subscription) => subscription.status === "pending"),
      stale: stale === undefined ? null : (stale.reason ?? "values may be old"),
      refused: alive.length === 0 ? (this.#refused ?? "nothing is subscribed") : null,
    };
  }

  /**
   * Connects, after ending what was there.
   *
   * @param url - of the gateway's WebSocket
   * @param token - kept in memory and given to the gateway; `null`: without signing in
   * @throws OdinError if the settings cannot work
   */
  open(url: string, channels: readonly string[], settings: Settings, token: string | null): void {
    this.#end();
    const odin = connect({
      url,
      codec: settings.codec,
      ...(settings.transport === "auto" ? {} : { transports: [settings.transport] }),
      ...(token === null ? {} : { token: () => token }),
    });
    this.#odin = odin;
    this.#refused = null;
    // a client that was closed may still have something to say
    const mine =
      <T>(tell: (event: T) => void) =>
      (event: T): void => {
        if (this.#odin === odin) tell(event);
      };
    const listener = this.#listener;
    odin.on("state", mine((state) => listener.state(state)));
    odin.on("gap", mine((gap) => listener.gap(gap)));
    odin.on("begin", mine((begin) => listener.begin(begin)));
    odin.on("resume", mine((begin) => listener.resume(begin)));
    odin.on("stale", mine(() => listener.state(odin.state)));
    odin.on("live", mine(() => listener.state(odin.state)));
    odin.on("end", mine((end) => this.#ended(end)));
    odin.on("error", mine((error) => listener.error(error)));
    odin.on("system", mine((news) => listener.system(news)));
    odin.on("auth", mine((user) => listener.auth(user)));
    const price = mine((update: Update) => listener.price(update));
    this.#prices = channels.map((channel) => odin.subscribe<unknown>(channel, price));
    for (const channel of MARKET_CHANNELS) {
      odin.subscribe<unknown>(channel, mine((update) => listener.market(update)));
    }
    if (token !== null) {
      odin.subscribe<unknown>("signals:all", mine((update) => listener.signal(update)));
      odin.subscribe<unknown>("notifications", mine((update) => listener.notification(update)));
    }
    listener.state(odin.state);
  }

  /** Does not wait for the next try. */
  retry(): void {
    this.#odin?.reconnect();
  }

  /** Ends the connection. */
  close(): void {
    if (this.#odin === null) return;
    this.#end();
    this.#listener.state(null);
  }

  #end(): void {
    const odin = this.#odin;
    this.#overlaps = this.overlaps;
    this.#odin = null;
    this.#prices = [];
    odin?.close();
  }

  #ended(end: End): void {
    if (end.error !== undefined && this.#prices.some((subscription) => subscription.channel === end.channel)) {
      this.#refused = `${end.channel}: ${end.error.message}`;
    }
    this.#listener.end(end);
    this.#listener.state(this.state);
  }
}
