/**
 * Where the page stands, in words for people. Whatever is not proven to be fresh is not called so.
 */

import type { State, TransportName } from "@odin/client";
import { clock } from "../format.ts";

/** How it looks: one colour, icon and word each. `live` and `fallback` are the only ones with fresh values. */
export type Tone = "live" | "fallback" | "stale" | "wait" | "off";

/** What the page says about itself. */
export interface Status {
  readonly tone: Tone;
  /** One or two words: `Live`, `Stale`, `Reconnecting`. */
  readonly title: string;
  /** Why, and what happens next. */
  readonly detail: string;
  /** Whether values may be shown as the present ones. */
  readonly fresh: boolean;
  /** When the next try begins, milliseconds since 1970. */
  readonly retryAt: number | null;
}

/** What beside the state of the connection says whether prices are fresh. */
export interface Prices {
  /** The gateway has not confirmed the subscription on this connection yet. */
  readonly pending: boolean;
  /** The reason why the gateway calls this subscription stale. */
  readonly stale: string | null;
  /** The gateway has refused all of it, and says why. */
  readonly refused: string | null;
}

/** What transports are called. */
export const TRANSPORTS: Readonly<Record<TransportName, string>> = {
  websocket: "WebSocket",
  events: "server-sent events",
  poll: "long polling",
};

const STALE_REASONS: Readonly<Record<string, string>> = {
  bus_lost: "the gateway has lost the stream",
  unverified: "the gateway cannot prove that it has everything",
  feed_silent: "the source is silent",
};

/** Close codes of which a person can do something about. */
const CLOSE_HINTS: Readonly<Record<number, string>> = {
  401: "the token is not valid: sign in again",
  403: "this page or this user may not connect",
  404: "there is no gateway at this address",
  4401: "the token is not valid: sign in again",
  4403: "the user may not connect",
  4409: "replaced by a newer connection of the same user",
  4429: "this page asked too often",
  4440: "access was revoked",
};

/**
 * What the page says.
 *
 * @param state - of the client; `null`: there is none, the user has disconnected
 * @param chosen - whether the user asked for the transport that is in use
 */
export function statusOf(state: State | null, prices: Prices, chosen: boolean): Status {
  const base = { fresh: false, retryAt: null };
  if (state === null) {
    return { ...base, tone: "off", title: "Disconnected", detail: "values are as old as they say" };
  }
  switch (state.status) {
    case "connecting":
      return { ...base, tone: "wait", title: "Connecting", detail: attempts(state.attempt) };
    case "reconnecting":
      return {
        ...base,
        tone: "wait",
        title: "Reconnecting",
        detail: [attempts(state.attempt), state.reason].filter((part) => part !== "").join(", "),
        retryAt: state.retryAt,
      };
    case "closed":
      return { ...base, tone: "off", title: "Closed", detail: closing(state.code, state.reason) };
    case "stale":
      return { ...base, tone: "stale", title: "Stale", detail: staleness(state.reason, state.since) };
    case "connected":
    case "fallback":
      break;
  }
  if (prices.refused !== null) {
    return { ...base, tone: "off", title: "No prices", detail: prices.refused };
  }
  if (prices.pending) {
    return { ...base, tone: "wait", title: "Connected", detail: "waiting for the prices" };
  }
  if (prices.stale !== null) {
    return { ...base, tone: "stale", title: "Stale", detail: staleness(prices.stale, undefined) };
  }
  if (state.status === "fallback") {
    const detail = chosen ? "as chosen in the settings" : "no WebSocket gets through; it is tried again";
    return { tone: "fallback", title: `Live by ${TRANSPORTS[state.transport]}`, detail, fresh: true, retryAt: null };
  }
  return { tone: "live", title: "Live", detail: "", fresh: true, retryAt: null };
}

/** The rest of the wait, as shown beside the detail: `next try in 3 s`. Empty if no try is planned. */
export function countdown(status: Status, online: boolean, now: number): string {
  if (status.title !== "Reconnecting") return "";
  if (!online) return "this device is offline";
  if (status.retryAt === null) return "next try when the network is back";
  const seconds = Math.ceil((status.retryAt - now) / 1_000);
  return seconds <= 0 ? "trying now" : `next try in ${seconds} s`;
}

function attempts(attempt: number): string {
  return attempt > 1 ? `attempt ${attempt}` : "";
}

function staleness(reason: string | undefined, since: number | undefined): string {
  const why = reason === undefined ? "values may be old" : (STALE_REASONS[reason] ?? reason);
  return since === undefined ? why : `${why}; complete up to ${clock(since)}`;
}

function closing(code: number | undefined, reason: string): string {
  const hint = code === undefined ? undefined : CLOSE_HINTS[code];
  const text = hint ?? reason;
  return code === undefined ? text : `${text} (${code})`;
}
