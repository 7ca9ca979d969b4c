/**
 * The client: what connections tell becomes what an application hears, and what it asks for becomes wishes that every
 * connection fulfils.
 */

import { isChannel, isPattern, patternOf } from './channel.js';
import { json, loadMsgpack, type Codec } from './codec.js';
import { createCourse } from './course.js';
import { isCursor } from './cursor.js';
import { createEmitter } from './emitter.js';
import { OdinError } from './errors.js';
import type { Host, News } from './host.js';
import { createLink } from './link.js';
import type { GapMessage } from './message.js';
import type { Odin, OdinEvents, Stats } from './odin.js';
import { settle, type Clock, type ConnectOptions, type SubscribeOptions } from './options.js';
import { createPositions } from './positions.js';
import { createPublishes } from './publish.js';
import {
  createHandle,
  type Begin,
  type End,
  type Handle,
  type Subscription,
  type SubscriptionEvents,
  type Update,
  type View,
} from './subscription.js';
import { wishesOf, type Wish, type Wishes } from './wish.js';

/**
 * Connects to odin. Returns at once; {@link Odin.state} and its event tell what comes of it.
 *
 * @throws {@link OdinError} `invalid_argument` for options that cannot work.
 */
export function connect(options: ConnectOptions): Odin {
  const settings = settle(options);
  const emitter = createEmitter<OdinEvents>();
  const wishes: Wishes = new Map();
  const positions = createPositions();
  const memory = { refusals: 0, isCounted: false };
  const stats: Stats = { connects: 0, messages: 0, bytes: 0, updates: 0, overlaps: 0, gaps: 0 };
  let codec: Codec | undefined = settings.codec === 'json' ? json : undefined;
  let lastId = 0;
  let isClosed = false;

  const nextId = () => (lastId += 1);
  const failed = (error: OdinError) => {
    if (error.channel !== undefined)
      wishes.get(error.channel)?.handles.forEach((handle) => handle.emit('error', error));
    emitter.emit('error', error);
  };
  /** Tells the client's listeners, and those of the subscriptions that a channel is for. */
  const tell = <K extends 'gap' | 'stale' | 'live' | 'begin'>(
    event: K,
    value: OdinEvents[K] & SubscriptionEvents[K],
  ) => {
    if (event === 'gap') stats.gaps += 1;
    for (const wish of concerned(value.channel)) for (const handle of wish.handles) handle.emit(event, value);
    emitter.emit(event, value as OdinEvents[K]);
  };
  const concerned = (channel: string | undefined): Iterable<Wish> => {
    if (channel === undefined) return wishes.values();
    if (!isPattern(channel)) return wishesOf(wishes, channel);
    return [...wishes.values()].filter((wish) => wish.channel === channel || patternOf(wish.channel) === channel);
  };
  const flush = () => {
    const { current } = course;
    if (!current?.isReady) return;
    current.flush();
    publishes.flush(current);
  };
  const publishes = createPublishes(settings, nextId, flush);

  /** Ends a wish for all who share it. */
  const endWish = (wish: Wish, error: OdinError | undefined) => {
    if (wishes.get(wish.channel) !== wish) return;
    wishes.delete(wish.channel);
    positions.end(wish.channel);
    const event: End = { channel: wish.channel, ...(error && { error }) };
    for (const handle of wish.handles) {
      if (error) handle.emit('error', error);
      handle.end(event);
    }
    if (error) emitter.emit('error', error);
    emitter.emit('end', event);
    course.current?.sync();
  };

  /** Gives a handle the last values that are known. */
  const prime = (wish: Wish, handle: Handle) => {
    if (handle.isPrimed || !wish.handles.has(handle)) return;
    handle.isPrimed = true;
    const mode = positions.mode(wish.channel) ?? 'latest';
    for (const update of positions.latest(wish.channel)) handle.update({ ...update, snapshot: true }, mode);
  };

  const deliver = (wish: Wish | undefined, update: Update) => {
    if (!wish) return;
    const mode = positions.mode(wish.channel) ?? 'latest';
    for (const handle of wish.handles) if (handle.isPrimed) handle.update(update, mode);
  };

  const host: Host = {
    settings,
    wishes,
    positions,
    publishes,
    memory,
    stats,
    nextId,
    codec() {
      if (codec) return codec;
      return loadMsgpack().then(
        (loaded) => (codec ??= loaded),
        (cause: unknown) => {
          failed(new OdinError('no_codec', 'MessagePack could not be loaded: speaking JSON', { cause }));
          return json;
        },
      );
    },
    freshToken: () => within(settings.clock, settings.tokenTimeoutMs, async () => settings.token!()),
    greeted: (link) => course.greeted(link),
    ready(link) {
      stats.connects += 1;
      course.ready(link);
      flush();
    },
    settled: (link) => course.settled(link),
    renew: (link) => course.renew(link),
    ended(link, parting, unreached) {
      publishes.lost(link);
      course.ended(link, parting, unreached);
      flush();
    },
    signedIn: (_link, event) => emitter.emit('auth', event),
    update(message) {
      const judged = positions.update(message);
      if (judged === 'drop') stats.overlaps += 1;
      if (judged === 'drop' || judged === 'stray') return;
      stats.updates += 1;
      const { channel, key } = message;
      if (typeof judged === 'object') {
        tell('gap', { channel, ...(key !== undefined && { key }), ...judged, reason: 'unannounced' });
      }
      message.snapshot = message.snapshot === true;
      const update = message as Update;
      deliver(wishes.get(channel), update);
      deliver(wishes.get(patternOf(channel)), update);
      emitter.emit('update', update);
    },
    begun(wish, message) {
      const { channel, mode, recovered, reason } = message;
      const wasKnown = positions.mode(channel) !== undefined;
      const { since } = wish.entry;
      delete wish.entry.since;
      const cursor = message.cursor ?? (recovered && !wasKnown ? since : undefined);
      const anew = positions.begin({ ...message, ...(cursor !== undefined && { cursor }) });
      wish.isActive = true;
      if (wish.stale) told({ type: 'live', channel });
      const event: Begin = { channel, mode, recovered, anew, ...(reason !== undefined && { reason }) };
      for (const handle of wish.handles) handle.emit('begin', event);
      emitter.emit('begin', event);
      if (wasKnown) emitter.emit('resume', event);
      for (const handle of wish.handles) prime(wish, handle);
    },
    refused: endWish,
    failed,
    told(link, message) {
      if ((message.type === 'stale' || message.type === 'live') && message.channel === undefined) {
        const isStale = message.type === 'stale';
        link.stale = isStale ? without(message) : undefined;
        if (link !== course.current) return;
        course.staled(link);
        return isStale ? tell('stale', without(message)) : tell('live', {});
      }
      if (message.type === 'system:status') {
        emitter.emit('system', without(message));
        if (message.status === 'draining') course.draining(link, message);
        return;
      }
      told(message);
    },
  };
  /** What is about one channel. */
  const told = (message: News | GapMessage) => {
    if (message.type === 'gap') {
      const { channel, key, until } = message;
      if (positions.gap(channel, key ?? undefined, until)) tell('gap', without(message));
    } else if (message.type === 'stale' || message.type === 'live') {
      const wish = wishes.get(message.channel ?? '');
      if (!wish) return;
      wish.stale = message.type === 'stale' ? without(message) : undefined;
      for (const handle of wish.handles) handle.emit(message.type, without(message));
      emitter.emit(message.type, without(message));
    }
  };

  const course = createCourse({
    settings,
    memory,
    open: (kind) => createLink(host, kind),
    changed: (state) => emitter.emit('state', state),
    isWanting: () => wishes.size > 0 || publishes.size > 0,
    inUse(link) {
      const active = new Set(link?.active());
      for (const wish of wishes.values()) {
        wish.isActive = active.has(wish.channel);
        if (!link) wish.stale = undefined;
      }
    },
    unreadable() {
      // whatever it was, JSON has fewer ways to be wrong
      codec = json;
    },
  });

  const subscribe = (
    channel: string,
    listener: ((update: Update<never>) => void) | undefined,
    { signal, since, mode, filter, every }: SubscribeOptions = {},
  ): Subscription => {
    const invalid = (message: string) => new OdinError('invalid_argument', message, { channel });
    if (isClosed) throw new OdinError('closed', 'the client was closed', { channel });
    if (!isChannel(channel)) throw invalid(`invalid channel ${JSON.stringify(String(channel).slice(0, 128))}`);
    if (since !== undefined && !isCursor(since)) throw invalid('invalid cursor');
    let wish = wishes.get(channel);
    if (wish) {
      const { entry } = wish;
      const isSame =
        since === undefined &&
        (mode === undefined || mode === (entry.mode ?? positions.mode(channel))) &&
        (filter === undefined || JSON.stringify(filter) === JSON.stringify(entry.filter)) &&
        (every === undefined || every === entry.every);
      if (!isSame) throw invalid(`${channel} is subscribed already, with other options`);
    } else {
      const entry = { channel, ...defined({ since, mode, filter, every }) };
      wish = { channel, entry, handles: new Set(), isActive: false, stale: undefined };
      wishes.set(channel, wish);
    }
    const own = wish;
    const view: View = {
      cursor: () => positions.since(channel) ?? own.entry.since,
      mode: () => positions.mode(channel),
      isActive: () => own.isActive,
      stale: () => (course.current?.isReady ? (course.current.stale ?? staleOf(own)) : { reason: 'away' }),
      failed: (error) => emitter.emit('error', error),
      leave(handle) {
        own.handles.delete(handle);
        handle.end();
        if (own.handles.size === 0) endWish(own, undefined);
      },
    };
    const handle = createHandle(channel, settings.iteratorQueue, view, signal);
    const { subscription } = handle;
    own.handles.add(handle);
    if (listener) subscription.on('update', listener as (update: Update) => void);
    if (signal?.aborted) {
      subscription.unsubscribe();
      return subscription;
    }
    if (positions.mode(channel) !== undefined) queueMicrotask(() => prime(own, handle));
    course.wake();
    course.current?.sync();
    return subscription;
  };
  const staleOf = (wish: Wish) => wish.stale ?? wishes.get(patternOf(wish.channel))?.stale;

  return {
    get state() {
      return course.state;
    },
    get stats() {
      return { ...stats };
    },
    on: emitter.on,
    subscribe: subscribe as Odin['subscribe'],
    publish(channel, data, options = {}) {
      if (isClosed) return Promise.reject(new OdinError('closed', 'the client was closed', { channel }));
      const published = publishes.add(channel, data, options);
      course.wake();
      return published;
    },
    reconnect: () => course.reconnect(),
    close() {
      if (isClosed) return;
      isClosed = true;
      course.close();
      publishes.close();
      for (const wish of [...wishes.values()]) endWish(wish, undefined);
      emitter.clear();
    },
  };
}

/** A message without its `type`, and without what it leaves open. */
function without<M extends { type: string }>({ type: _, ...rest }: M): Omit<M, 'type'> {
  return defined(rest) as Omit<M, 'type'>;
}

/** An object without members that are undefined or null. */
const defined = <T extends object>(object: T): { [K in keyof T]?: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value != null)) as never;

/** What `work` gives, if it does so in time. */
function within<T>(clock: Clock, limitMs: number, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
    work()
      .then(resolve, reject)
      .finally(() => clock.clearTimeout(timer));
  });
}
