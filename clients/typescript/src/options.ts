/**
 * What an application may choose: of the client, of a subscription, of a publication.
 *
 * Every figure has a default, a unit in its name and bounds that {@link settle} holds it to.
 */

import { OdinError } from './errors.js';
import type { Mode } from './message.js';
import { browserNetwork } from './network.js';

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
  /** Calls `tell` on each change, `visible` also when the device wakes up; gives a function that ends it. */
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
  /** How messages are written on a WebSocket; `msgpack` loads its codec when it connects. Default `json`. */
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

/** Options with nothing left open. */
export interface Settings {
  url: string;
  httpUrl: string;
  token: (() => string | Promise<string>) | undefined;
  codec: 'json' | 'msgpack';
  transports: readonly TransportName[];
  WebSocket: WebSocketConstructor | undefined;
  fetch: typeof globalThis.fetch | undefined;
  network: Network;
  connectTimeoutMs: number;
  tokenTimeoutMs: number;
  backoffBaseMs: number;
  backoffCapMs: number;
  stableAfterMs: number;
  fallbackAfter: number;
  probeMinMs: number;
  probeMaxMs: number;
  pollWaitS: number;
  publishQueue: number;
  publishTimeoutMs: number;
  iteratorQueue: number;
  clock: Clock;
  random: () => number;
}

type Fetch = typeof globalThis.fetch;

/** Default, least and most of each figure. */
export const FIGURES = {
  connectTimeoutMs: [10_000, 1, 600_000],
  tokenTimeoutMs: [10_000, 1, 600_000],
  backoffBaseMs: [500, 1, 600_000],
  backoffCapMs: [30_000, 1, 3_600_000],
  stableAfterMs: [30_000, 0, 3_600_000],
  fallbackAfter: [3, 1, 1_000],
  probeMinMs: [10_000, 1, 86_400_000],
  probeMaxMs: [300_000, 1, 86_400_000],
  pollWaitS: [25, 1, 55],
  publishQueue: [100, 0, 100_000],
  publishTimeoutMs: [30_000, 1, 3_600_000],
  iteratorQueue: [1_000, 1, 1_000_000],
} as const satisfies Partial<Record<keyof ConnectOptions, readonly [number, number, number]>>;

const ALWAYS_ONLINE: Network = { online: () => true, watch: () => () => undefined };

const REAL_CLOCK: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as never),
};

const invalid = (message: string) => new OdinError('invalid_argument', message);

/**
 * Fills in the defaults and checks everything.
 *
 * @throws {@link OdinError} `invalid_argument`.
 */
export function settle(options: ConnectOptions): Settings {
  const { url, httpUrl } = addresses(options);
  const runtime = globalThis as { WebSocket?: WebSocketConstructor; fetch?: Fetch };
  const { WebSocket = runtime.WebSocket, codec = 'json', clock = REAL_CLOCK, random = Math.random } = options;
  const fetch = options.fetch ?? runtime.fetch?.bind(globalThis);
  if (codec !== 'json' && codec !== 'msgpack') throw invalid(`unknown codec ${String(codec)}`);
  const network = options.network === null ? ALWAYS_ONLINE : (options.network ?? browserNetwork() ?? ALWAYS_ONLINE);
  // a fetch that cannot stream, as in React Native, can still poll
  const canStream = options.fetch !== undefined || (typeof Response === 'function' && 'body' in Response.prototype);
  const isHere = { websocket: WebSocket !== undefined, events: fetch && canStream, poll: fetch !== undefined };
  const wanted = options.transports ?? (['websocket', 'events', 'poll'] as const);
  const transports = wanted.filter((name) => isHere[name]);
  if (transports.length === 0) throw invalid(`none of the transports ${wanted.join(', ')} can be had here`);
  const figure = (name: keyof typeof FIGURES) => {
    const [otherwise, least, most] = FIGURES[name];
    const value = options[name] ?? otherwise;
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw invalid(`${name} must be a whole number from ${least} to ${most}`);
  };
  const figures = Object.fromEntries(
    (Object.keys(FIGURES) as (keyof typeof FIGURES)[]).map((name) => [name, figure(name)]),
  ) as Record<keyof typeof FIGURES, number>;
  const { token } = options;
  return { ...figures, url, httpUrl, token, codec, transports, WebSocket, fetch, network, clock, random };
}

/** Scheme, host with port, and the rest. Without a password, which would end up in logs; without a fragment. */
const ADDRESS = /^(wss?|https?):\/\/([^\s/?#@\\]+)([/?][^\s#]*)?$/i;

// by hand, for not every runtime has a whole `URL`
function addresses(options: ConnectOptions): { url: string; httpUrl: string } {
  const [scheme, host] = read(options.url, 'ws');
  const { httpUrl = `${scheme === 'wss' ? 'https' : 'http'}://${host}` } = options;
  read(httpUrl, 'http');
  return { url: options.url, httpUrl: httpUrl.replace(/\/+$/, '') };
}

function read(text: string, wanted: 'ws' | 'http'): [scheme: string, host: string] {
  const [, scheme, host] = ADDRESS.exec(text) ?? [];
  const lower = scheme?.toLowerCase();
  if (host === undefined || !lower?.startsWith(wanted)) throw invalid(`invalid address, ${wanted}s://host wanted`);
  return [lower, host];
}
