/**
 * What an application can call, and what it is told.
 */

import type { OdinError } from './errors.js';
import type { Open, SystemState } from './message.js';
import type { PublishOptions, SubscribeOptions } from './options.js';
import type { PayloadOf } from './payloads.js';
import type { Published } from './publish.js';
import type { State } from './state.js';
import type { Begin, End, Gap, Off, Stale, Subscription, Update } from './subscription.js';

/** The gateway about itself. */
export interface SystemNews {
  readonly status: Open<SystemState>;
  /** For people. */
  readonly message?: string;
  /** `draining`: the connection moves to another gateway within this time; the client does that by itself. */
  readonly reconnectInMs?: number;
  /** `token_expiring`: time left; the client gets another one by itself. */
  readonly expiresInMs?: number;
}

/** Signed in, or a token refreshed. */
export interface SignedIn {
  /** The user. */
  readonly sub: string;
  /** When the token expires, in milliseconds since 1970 by the gateway's clock; undefined: never. */
  readonly expiresAt?: number;
  /** The connection was signed in before. */
  readonly refresh: boolean;
}

/** What a client has counted since it was made. */
export interface Stats {
  /** Connections that could be used. */
  connects: number;
  /** Messages of gateways, of all kinds. */
  messages: number;
  /** What came from gateways: bytes, or characters of text. */
  bytes: number;
  /** Updates that were given to the application. */
  updates: number;
  /** Updates that had come before, and were dropped. */
  overlaps: number;
  /** Gaps, announced or not. */
  gaps: number;
}

/** Events of the client; those of subscriptions come here too, for all of them. */
export interface OdinEvents {
  /** {@link Odin.state} has changed. */
  state: State;
  update: Update;
  gap: Gap;
  /** A subscription begins or goes on. */
  begin: Begin;
  /** A subscription that had begun before goes on, or begins anew. */
  resume: Begin;
  end: End;
  /** Values may be old: all, or of one subscription. */
  stale: Stale;
  live: { readonly channel?: string };
  /** A request was refused, a token was not accepted; what ends a connection is in `state`. */
  error: OdinError;
  system: SystemNews;
  auth: SignedIn;
}

/** A connection to odin that comes back by itself. */
export interface Odin {
  /** Where the client stands; a new object with each change, fit for `useSyncExternalStore` and the like. */
  readonly state: State;
  /** What was counted so far, a copy. */
  readonly stats: Stats;
  /** Calls `listener` for each event; gives a function that ends it. */
  on<K extends keyof OdinEvents>(event: K, listener: (event: OdinEvents[K]) => void, options?: { once?: boolean }): Off;
  /**
   * Subscribes to a channel or pattern. Subscriptions of one channel share one on the wire; a later one begins with the
   * last values that are known.
   *
   * @throws {@link OdinError} `invalid_argument` for a name outside the grammar, or a `mode`, `since`, `filter` or
   * `every` that contradicts a subscription of the same channel; `closed` after {@link Odin.close}.
   */
  subscribe<C extends string>(
    channel: C,
    listener?: ((update: Update<PayloadOf<C>>) => void) | undefined,
    options?: SubscribeOptions,
  ): Subscription<PayloadOf<C>>;
  subscribe<T>(
    channel: string,
    listener?: ((update: Update<T>) => void) | undefined,
    options?: SubscribeOptions,
  ): Subscription<T>;
  /**
   * Publishes, now or when there is a connection, and waits until the stream has stored it.
   *
   * Rejects with an {@link OdinError}: `outcome_unknown` if it was sent and no answer came; `not_sent`, `queue_full`,
   * `aborted`, `closed`, `invalid_argument` if it was not sent; else the code with which the gateway refused it.
   */
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
  /** Connects now if it is not connected, also where the client had given up. Waits that a gateway asked for are kept. */
  reconnect(): void;
  /** The end: closes the connection, ends subscriptions, rejects publications. It cannot be undone. */
  close(): void;
}
