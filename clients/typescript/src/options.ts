/**
 * What an application may choose: of the client, of a subscription, of a publication.
 *
 * Every figure has a default, a unit in its name and bounds that {@link checkOptions} holds it to.
 */

import type { Mode } from './message.js';

/** A way to reach a gateway. */
export type TransportName = 'websocket' | 'events' | 'poll';

/** The part of the standard `WebSocket` that the client uses; that of browsers, Node 22, Deno, React Native and `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
}

/** Makes WebSockets. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** Time and timers; for tests. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds since some moment, never set back. */
  monotonic(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** What the device says about network and screen. */
export interface Network {
  /** False: no attempt to connect is made. */
  online(): boolean;
  /** Calls `tell` on each change; gives a function that ends it. */
  watch(tell: (what: 'online' | 'offline' | 'visible') => void): () => void;
}

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** `wss://host/ws`. The HTTP fallbacks are looked for at `https://host/v1`, see {@link ConnectOptions.httpUrl}. */
  url: string;
  /** Where `/v1` of the fallbacks is, without it: `https://host`. Default: the origin of `url`. */
  httpUrl?: string;
  /**
   * The source of tokens: asked before each connection and for each refresh. Without it the client does not sign in.
   * A token is never stored or logged.
   */
  token?: () => string | Promise<string>;
  /** How messages are written on a WebSocket; `msgpack` needs the package `@msgpack/msgpack`. Default `json`. */
  codec?: 'json' | 'msgpack';
  /** Ways to connect, in the order they are tried. Default: all of `websocket`, `events`, `poll`. */
  transports?: readonly TransportName[];
  /** For runtimes without a global one, such as Node 20: that of the package `ws`. */
  WebSocket?: WebSocketConstructor;
  /** For runtimes without a global one, or with one that cannot stream. */
  fetch?: typeof globalThis.fetch;
  /** Network and screen. Default: those of the browser, if there is one. `null`: always online. */
  network?: Network | null;
  /** Limit from the begin of a connect to the gateway's first message, and for its answer to a token. Default 10,000. */
  connectTimeoutMs?: number;
  /** Limit for the source of tokens. Default 10,000. */
  tokenTimeoutMs?: number;
  /** Longest first wait after a lost connection. Default 500. */
  backoffBaseMs?: number;
  /** Longest wait of all. Default 30,000. */
  backoffCapMs?: number;
  /** A connection that lasted so long was a good one: waits begin at the shortest again. Default 30,000. */
  stableAfterMs?: number;
  /** Failed connects in a row after which the next transport is tried. Default 3. */
  fallbackAfter?: number;
  /** On a fallback, the first wait before WebSocket is tried again. Default 10,000. */
  probeMinMs?: number;
  /** The longest such wait. Default 300,000. */
  probeMaxMs?: number;
  /** How long a poll may wait for news, in whole seconds, 1 to 55. Default 25. */
  pollWaitS?: number;
  /** Publications that may wait to be sent. Default 100. */
  publishQueue?: number;
  /** Default limit of a publication, from the call to the answer. Default 30,000. */
  publishTimeoutMs?: number;
  /** Updates that may wait in an iterator, of mode `all`. Default 1,000. */
  iteratorQueue?: number;
  /** For tests. */
  clock?: Clock;
  /** Numbers from 0 to below 1; for tests. */
  random?: () => number;
}

/** Options of a subscription. */
export interface SubscribeOptions {
  /** A cursor of an earlier session: continue after it. Without it the subscription begins with a snapshot. */
  since?: string;
  /** Where the gateway's rule leaves the choice. */
  mode?: Mode;
  /** Passed on to the gateway; `unsupported` until it offers filters. */
  filter?: unknown;
  /** Least milliseconds between two updates of a chain, passed on to the gateway; `unsupported` until it offers that. */
  every?: number;
  /** Unsubscribes when it is aborted. */
  signal?: AbortSignal;
}

/** Options of a publication. */
export interface PublishOptions {
  /** Gives up waiting. What was not sent is not sent then; of what was sent the outcome is unknown. */
  signal?: AbortSignal;
  /** From the call to the answer. Default {@link ConnectOptions.publishTimeoutMs}. */
  timeoutMs?: number;
}
