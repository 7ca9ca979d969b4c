/**
 * One connection, from its token to its end: the greeting, signing in, what is asked for, and whether it is still there.
 *
 * It asks for what is wished for and has not been asked for yet, by comparing the two, so it cannot forget or repeat
 * anything. It decides nothing about other connections: that is the client's affair.
 */

import { createAuth, refreshAfter, type Auth } from './auth.js';
import { ceiling, patience, uniform } from './backoff.js';
import type { Parting } from './close.js';
import { json, type Codec } from './codec.js';
import { mayRetry, OdinError } from './errors.js';
import { startHeartbeat, type Heartbeat } from './heartbeat.js';
import type { ErrorMessage, ServerMessage, StatusMessage, SubscribeEntry } from './message.js';
import type { Outlet } from './publish.js';
import type { Transport, TransportKind } from './transport.js';
import type { Host } from './host.js';
import type { Wish } from './wish.js';

/** Most channels of one message: well below the 500 that a gateway takes, but as many as that over HTTP. */
const MAX_CHANNELS = { socket: 200, http: 500 };
/** Largest request made, in bytes, whatever the gateway says it reads. */
const MAX_REQUEST_BYTES = { socket: 32_768, http: 60_000 };
/** What an entry needs beside its channel and cursor, in bytes. */
const ENTRY_BYTES = 64;
/** Least time between two rounds of requests, in milliseconds: well below the 100 messages a second of a gateway. */
const PACE_MS = 20;
/** Least life of a connection whose token comes with its requests, however often a gateway says that it expires. */
const REFRESH_PACE_MS = 1_000;

/** How far one wish has come on this connection. */
interface Step {
  wish: Wish;
  /** Asked for under this id. */
  id: number;
  /** `asked` until it is answered; `later`: refused for now. */
  now: 'asked' | 'active' | 'later';
  timer?: unknown;
}

/** See the file. */
export interface Link extends Outlet {
  readonly kind: TransportKind;
  /** What the gateway said first; undefined until it did. */
  readonly hello: StatusMessage | undefined;
  /** It can be asked for things: greeted, and signed in if that is wanted. */
  readonly isReady: boolean;
  /** Everything that was asked for has been answered. */
  readonly isSettled: boolean;
  /** The gateway says that all values may be old. */
  stale: { reason?: string; since?: number } | undefined;
  /** Asks for what is wished for and was not asked for yet, in a moment. */
  sync(): void;
  /** Asks for it now, if the moment would be this one: what was subscribed before a publication goes before it. */
  flush(): void;
  /** The confirmed channels. */
  active(): Iterable<string>;
  /** There is reason to doubt that it is still there. */
  doubt(): void;
  /** Another one took over: only publications that it owes an answer for are still listened to, until `done`. */
  retire(done: () => void): void;
  close(): void;
}

/** Begins a connection. Everything that happens is told to `host`. */
export function createLink(host: Host, kind: TransportKind): Link {
  const { settings } = host;
  const { clock, random } = settings;
  const size = kind.isSocket ? 'socket' : 'http';
  const steps = new Map<string, Step>();
  /** Tries of a wish that was refused for now. */
  const tries = new Map<string, number>();
  let codec: Codec = json;
  let transport: Transport | undefined;
  let hello: StatusMessage | undefined;
  let auth: Auth | undefined;
  let heartbeat: Heartbeat | undefined;
  let token: string | undefined;
  let isReady = false;
  let isOver = false;
  let isRetired = false;
  let syncTimer: unknown;
  let syncedAt = -Infinity;
  let isSyncing = false;
  /** The last error without a request: it may say why a subscription is about to be ended. */
  let farewell: OdinError | undefined;
  let refreshTimer: unknown;
  let retireTimer: unknown;
  let retired: (() => void) | undefined;
  const startedAt = clock.monotonic();
  const limit = clock.setTimeout(
    () => leave({ reason: `no answer within ${settings.connectTimeoutMs} ms`, comeBack: 'soon' }),
    settings.connectTimeoutMs + (settings.token ? settings.tokenTimeoutMs : 0),
  );

  const stop = () => {
    isOver = true;
    isReady = false;
    for (const timer of [limit, syncTimer, refreshTimer, retireTimer]) clock.clearTimeout(timer);
    for (const step of steps.values()) clock.clearTimeout(step.timer);
    auth?.stop();
    heartbeat?.stop();
    transport?.close();
    retired?.();
  };
  const leave = (parting: Parting, unreached = transport !== undefined && hello === undefined) => {
    if (isOver) return;
    stop();
    host.ended(link, parting, unreached);
  };

  const start = async () => {
    try {
      if (settings.token) token = await host.freshToken();
    } catch (error) {
      return leave({ reason: `no token: ${String(error)}`, comeBack: 'soon' });
    }
    let open = kind.load();
    try {
      if (open instanceof Promise) open = await open;
    } catch (error) {
      return leave({ reason: `cannot load ${kind.name}: ${String(error)}`, comeBack: 'soon' }, true);
    }
    const chosen = kind.isSocket ? host.codec() : json;
    codec = chosen instanceof Promise ? await chosen : chosen;
    if (isOver) return;
    const { freshToken } = host;
    const around = { settings, codec, token: kind.isSocket ? undefined : token, freshToken, mode: host.positions.mode };
    transport = open(around, { message: receive, sign, end: leave });
    if (!kind.isSocket) {
      // the token goes with each request, and there is nothing to wait for
      token = undefined;
      compare();
    }
  };

  const greeted = (message: StatusMessage) => {
    if (hello) return;
    hello = message;
    if (message.heartbeatMs > 0) {
      const dead = () => leave({ reason: 'no sign of life', comeBack: 'soon' });
      heartbeat = startHeartbeat(clock, message.heartbeatMs, ask, dead);
    }
    host.greeted(link);
    if (isOver) return;
    if (token === undefined) return ready();
    auth = createAuth({
      settings,
      memory: host.memory,
      ask: host.freshToken,
      send(token) {
        const id = host.nextId();
        transport!.send({ type: 'auth', id, token });
        return id;
      },
      done(sub, expiresAt, refresh) {
        host.signedIn(link, { sub, refresh, ...(expiresAt !== undefined && { expiresAt }) });
        ready();
      },
      failed: host.failed,
      leave,
    });
    // signing in has a limit of its own
    clock.clearTimeout(limit);
    auth.begin(token);
    token = undefined;
  };
  const ready = () => {
    if (isReady || isOver) return;
    isReady = true;
    clock.clearTimeout(limit);
    host.ready(link);
  };

  const ask = () => {
    if (!kind.isSocket) return false;
    transport!.send({ type: 'ping', id: host.nextId() });
    return true;
  };

  /** Soon, and not too often: what is asked for and taken back at once is never sent. */
  const sync = () => {
    if (isSyncing || isOver || isRetired) return;
    isSyncing = true;
    const wait = syncedAt + PACE_MS - clock.monotonic();
    if (wait > 0) syncTimer = clock.setTimeout(compare, wait);
    else queueMicrotask(() => isSyncing && compare());
  };

  const compare = () => {
    isSyncing = false;
    syncTimer = undefined;
    if (isOver || isRetired || !transport || (kind.isSocket && !isReady)) return;
    const gone: string[] = [];
    for (const [channel, step] of steps) {
      if (host.wishes.get(channel) === step.wish) continue;
      clock.clearTimeout(step.timer);
      steps.delete(channel);
      if (step.now !== 'later') gone.push(channel);
    }
    const due = [...host.wishes.values()].filter((wish) => !steps.has(wish.channel));
    if (gone.length === 0 && due.length === 0) return settled();
    // over HTTP there is no connection without something to ask for
    if (!kind.isSocket && host.wishes.size === 0) return host.renew(link);
    syncedAt = clock.monotonic();
    for (let at = 0; at < gone.length; at += MAX_CHANNELS[size]) {
      const channels = gone.slice(at, at + MAX_CHANNELS[size]);
      if (!transport.send({ type: 'unsubscribe', id: host.nextId(), channels })) return host.renew(link);
    }
    if (!request(due)) host.renew(link);
    settled();
  };

  /** Asks for all of these, in as many messages as it takes. */
  const request = (due: Wish[]): boolean => {
    const maxBytes = Math.max(1_024, Math.min(hello?.maxMessageBytes ?? Infinity, MAX_REQUEST_BYTES[size]));
    for (let at = 0; at < due.length;) {
      const id = host.nextId();
      const channels: SubscribeEntry[] = [];
      let bytes = ENTRY_BYTES;
      for (; at < due.length && channels.length < MAX_CHANNELS[size]; at += 1) {
        const wish = due[at]!;
        const since = host.positions.since(wish.channel) ?? wish.entry.since;
        const entry = { ...wish.entry, ...(since !== undefined && { since }) };
        bytes += ENTRY_BYTES + wish.channel.length + JSON.stringify(entry).length;
        if (bytes > maxBytes && channels.length > 0) break;
        channels.push(entry);
      }
      const short = channels.map((entry) => (Object.keys(entry).length === 1 ? entry.channel : entry));
      if (!transport!.send({ type: 'subscribe', id, channels: short })) return false;
      for (const { channel } of channels) steps.set(channel, { wish: host.wishes.get(channel)!, id, now: 'asked' });
    }
    return true;
  };

  const settled = () => {
    if (link.isSettled) host.settled(link);
  };

  /** A request, or one channel of it, was refused. */
  const refused = (error: ErrorMessage) => {
    const { id, channel, code, message, limit, retryAfterMs } = error;
    const named = id === undefined ? [] : [...steps.values()].filter((step) => step.id === id);
    const mine = channel === undefined ? named : named.filter((step) => step.wish.channel === channel);
    let retryInMs: number | undefined;
    for (const step of mine) {
      const name = step.wish.channel;
      if (mayRetry(code)) {
        const n = tries.get(name) ?? 0;
        tries.set(name, n + 1);
        const most = ceiling('soon', n, settings.backoffBaseMs, settings.backoffCapMs);
        const wait = patience(retryAfterMs) + uniform(random, 0, most);
        retryInMs = Math.min(retryInMs ?? Infinity, wait);
        step.now = 'later';
        step.timer = clock.setTimeout(() => {
          steps.delete(name);
          sync();
        }, wait);
      } else {
        steps.delete(name);
        host.refused(step.wish, new OdinError(code, message, { channel: name, limit, retryAfterMs }));
      }
    }
    if (mine.length === 0 || mayRetry(code)) {
      farewell = new OdinError(code, message, { channel, limit, retryAfterMs, retryInMs });
      host.failed(farewell);
    }
    settled();
  };

  const sign = (size: number) => {
    host.stats.bytes += size;
    heartbeat?.heard();
  };

  /** The token came with the request: only another request can bring another one. */
  const refreshIn = (ms: number) => {
    clock.clearTimeout(refreshTimer);
    refreshTimer = clock.setTimeout(() => host.renew(link), ms);
  };

  const receive = (message: ServerMessage) => {
    if (isOver) return;
    host.stats.messages += 1;
    const isAnswer = host.publishes.take(message);
    if (isRetired && !host.publishes.isWaiting(link)) stop();
    if (isAnswer || isRetired || auth?.take(message)) return;
    switch (message.type) {
      case 'update':
        return host.update(message);
      case 'connection:status':
        return greeted(message);
      case 'subscribed': {
        const step = steps.get(message.channel);
        // an answer to an earlier request, or one more of the same, begins nothing
        if (!step || step.now === 'later' || message.id !== (step.now === 'asked' ? step.id : undefined)) return;
        step.now = 'active';
        tries.delete(message.channel);
        host.begun(step.wish, message);
        return settled();
      }
      case 'unsubscribed': {
        const step = steps.get(message.channel);
        if (message.id !== undefined || !step) return;
        steps.delete(message.channel);
        return host.refused(step.wish, farewell?.channel === message.channel ? farewell : undefined);
      }
      case 'error':
        return refused(message);
      case 'checkpoint':
        return host.positions.checkpoint(message.cursor, message.channel === undefined ? active() : [message.channel]);
      case 'authenticated':
        host.signedIn(link, {
          sub: message.sub,
          refresh: false,
          ...(message.expiresAt && { expiresAt: message.expiresAt }),
        });
        if (message.expiresAt !== undefined && !kind.isSocket) {
          const wait = refreshAfter(random, message.expiresAt - clock.now());
          if (wait !== undefined) refreshIn(wait);
        }
        return;
      case 'system:status':
        if (message.status === 'token_expiring') {
          if (kind.isSocket) auth?.expiring(message.expiresInMs);
          else refreshIn(Math.max(0, startedAt + REFRESH_PACE_MS - clock.monotonic()));
        }
        return host.told(link, message);
      default:
        return host.told(link, message);
    }
  };

  const active = function* (): Iterable<string> {
    for (const [channel, step] of steps) if (step.now === 'active') yield channel;
  };

  const link: Link = {
    kind,
    stale: undefined,
    get hello() {
      return hello;
    },
    get isReady() {
      return isReady;
    },
    get isSettled() {
      if (!isReady || isSyncing) return false;
      for (const step of steps.values()) if (step.now === 'asked') return false;
      return true;
    },
    get maxBytes() {
      return hello?.maxMessageBytes ?? 65_536;
    },
    encode: (message) => codec.encode(message),
    send: (message) => void transport!.send(message),
    sync,
    flush() {
      if (isSyncing && syncTimer === undefined) compare();
    },
    active,
    doubt: () => heartbeat?.doubt(),
    retire(done) {
      isRetired = true;
      retired = done;
      if (!host.publishes.isWaiting(link)) stop();
      else retireTimer = clock.setTimeout(stop, settings.connectTimeoutMs);
    },
    close: stop,
  };
  void start();
  return link;
}
