/**
 * Which connection there is, which one is about to take its place, and when to try again.
 *
 * There is one connection in use, and at most one more that is to replace it: because the gateway drains, because a
 * stream has to be opened anew, or because WebSocket may work again. The new one has been answered for every subscription
 * before the old one goes, so nothing pauses; what comes twice meanwhile is dropped by its sequence.
 */

import { MAX_REFUSALS, type AuthMemory } from './auth.js';
import { ceiling, patience, uniform } from './backoff.js';
import { IDLE, NORMAL, UNAUTHORIZED, type ComeBack, type Parting } from './close.js';
import type { Link } from './link.js';
import type { SystemMessage } from './message.js';
import type { Settings, TransportName } from './options.js';
import { createRoute } from './route.js';
import { nextState, type Happening, type State } from './state.js';
import type { TransportKind } from './transport.js';
import { openWebSocket } from './websocket.js';

/** A draining gateway may be so much later than it said before the client leaves by itself. */
const DRAIN_GRACE_MS = 2_000;
/** How long to wait for more changes before a stream is opened anew. */
const RENEW_MS = 50;

const KINDS: Record<TransportName, TransportKind> = {
  websocket: { name: 'websocket', isSocket: true, load: () => openWebSocket },
  events: { name: 'events', isSocket: false, load: async () => (await import('./events.js')).openEvents },
  poll: { name: 'poll', isSocket: false, load: async () => (await import('./poll.js')).openPoll },
};

/** What the course is given. */
export interface Surroundings {
  settings: Settings;
  memory: AuthMemory;
  open(kind: TransportKind): Link;
  changed(state: State): void;
  /** Whether anything is subscribed or to be published. */
  isWanting(): boolean;
  /** This link is the one in use now; undefined: there is none. */
  inUse(link: Link | undefined): void;
  /** A message of this connection could not be read. */
  unreadable(): void;
}

/** See the file. */
export interface Course {
  readonly state: State;
  /** The link in use, ready or not. */
  readonly current: Link | undefined;
  /** Something is wanted: connects if it was not worth it before. */
  wake(): void;
  reconnect(): void;
  close(): void;
  // what links tell
  greeted(link: Link): void;
  ready(link: Link): void;
  settled(link: Link): void;
  renew(link: Link): void;
  ended(link: Link, parting: Parting, unreached: boolean): void;
  /** The link's `stale` has changed. */
  staled(link: Link): void;
  draining(link: Link, message: SystemMessage): void;
}

type Purpose = 'probe' | 'renew';

/** The course of one client. The first connect is made a moment later. */
export function createCourse(around: Surroundings): Course {
  const { settings, memory } = around;
  const { clock, random, network } = settings;
  const route = createRoute(settings.transports, settings.fallbackAfter);
  let state: State = { status: 'connecting', attempt: 1 };
  let current: Link | undefined;
  let next: Link | undefined;
  /** Those that were replaced, and owe an answer. */
  const retired = new Set<Link>();
  let purpose: Purpose = 'renew';
  /** Tries since a connection was last good. */
  let tries = 0;
  /** Tries to replace the connection in use, and to get back to WebSocket. */
  let nextTries = 0;
  let probes = 0;
  let upAt: number | undefined;
  /** No try before that, whatever happens: a gateway asked for patience. */
  let notBefore = -Infinity;
  let isClosed = false;
  let isIdle = false;
  const timers: Record<'retry' | 'next' | 'probe' | 'leave' | 'grace', unknown> = {
    retry: undefined,
    next: undefined,
    probe: undefined,
    leave: undefined,
    grace: undefined,
  };

  const clear = (...names: (keyof typeof timers)[]) => {
    for (const name of names) {
      clock.clearTimeout(timers[name]);
      timers[name] = undefined;
    }
  };
  const after = (name: keyof typeof timers, ms: number, run: () => void) => {
    clear(name);
    timers[name] = clock.setTimeout(() => {
      timers[name] = undefined;
      run();
    }, ms);
  };
  const change = (happening: Happening) => {
    const before = state;
    state = nextState(state, happening);
    if (state !== before) around.changed(state);
  };
  const draw = (when: ComeBack, n: number) =>
    uniform(random, 0, ceiling(when === 'later' ? when : 'soon', n, settings.backoffBaseMs, settings.backoffCapMs));

  const dial = () => {
    clear('retry');
    if (isClosed || current) return;
    if (!network.online()) return down('offline', undefined, 0);
    if (!around.isWanting()) {
      // a fallback needs something to ask for: without it nobody knows whether it works
      if (!route.has('websocket')) return rest('nothing is subscribed', undefined);
      route.take('websocket');
    }
    isIdle = false;
    change({ type: 'dial', attempt: tries + 1 });
    memory.isCounted = false;
    current = around.open(KINDS[route.name]);
  };

  /** Waits until something is wanted. */
  const rest = (reason: string, code: number | undefined) => {
    isIdle = true;
    change({ type: 'end', code, reason, willReturn: 'on_subscribe' });
  };

  /** Waits, and tries again. */
  const down = (reason: string, code: number | undefined, waitMs: number) => {
    const isOnline = network.online();
    const retryAt = isOnline ? clock.now() + waitMs : null;
    change({ type: 'down', attempt: Math.max(1, tries), retryAt, reason: isOnline ? reason : 'offline', code });
    if (isOnline) after('retry', waitMs, dial);
    else clear('retry');
  };

  /** Tries now, if it was waiting; a wait that a gateway asked for is kept. */
  const hurry = () => {
    const isWaiting = state.status === 'reconnecting' && !current;
    if (!isWaiting) return;
    const wait = notBefore - clock.monotonic();
    if (wait <= 0) dial();
    else down(state.status === 'reconnecting' ? state.reason : '', undefined, wait);
  };

  const up = (link: Link) => {
    const { connectionId, connectedClients, server, epoch } = link.hello!;
    const clients = connectedClients < 0 ? undefined : connectedClients;
    upAt = clock.monotonic();
    const connection = { transport: link.kind.name, connectionId, since: clock.now(), clients, server, epoch };
    around.inUse(link);
    change({ type: 'up', connection, stale: link.stale });
    if (link.kind.isSocket) {
      route.take('websocket');
      clear('probe');
      probes = 0;
    } else if (timers.probe === undefined) {
      planProbe();
    }
    link.sync();
  };

  /** The connection in use was a good one: what comes after it begins with short waits. */
  const praise = () => {
    if (upAt !== undefined && clock.monotonic() - upAt >= settings.stableAfterMs) tries = 0;
  };

  const openNext = (kind: TransportKind, why: Purpose) => {
    if (!current || next) return;
    purpose = why;
    memory.isCounted = false;
    next = around.open(kind);
  };

  const promote = () => {
    clear('grace', 'leave', 'next');
    if (!next || !current) return;
    praise();
    nextTries = 0;
    const old = current;
    current = next;
    next = undefined;
    up(current);
    retired.add(old);
    old.retire(() => retired.delete(old));
  };

  const planProbe = () => {
    if (!current || current.kind.isSocket || !route.has('websocket')) return;
    const most = Math.min(settings.probeMaxMs, settings.probeMinMs * 2 ** probes);
    after('probe', uniform(random, Math.floor(most / 2), most), () => {
      if (next || timers.next !== undefined || !network.online()) planProbe();
      else openNext(KINDS.websocket, 'probe');
    });
  };

  const nextEnded = (parting: Parting) => {
    next = undefined;
    clear('grace');
    if (!current) return;
    if (purpose === 'probe') {
      probes += 1;
      planProbe();
    } else if (parting.comeBack !== 'never') {
      const wait = patience(parting.retryAfterMs) + draw(parting.comeBack, nextTries++);
      after('next', wait, () => current && openNext(current.kind, 'renew'));
    }
  };

  /** Whether to come back after a token was not accepted: with another one, but not for ever. */
  const unauthorized = (parting: Parting): ComeBack => {
    if (!memory.isCounted) memory.refusals += 1;
    memory.isCounted = true;
    if (!settings.token) return 'never';
    if (memory.refusals < MAX_REFUSALS) return 'soon';
    return parting.isUnauthorized ? 'later' : 'never';
  };

  const currentEnded = (link: Link, parting: Parting, unreached: boolean) => {
    praise();
    upAt = undefined;
    current = undefined;
    clear('leave', 'next', 'probe', 'grace');
    const { reason, code, retryAfterMs } = parting;
    if (next) {
      // the one that was to take over is all there is now
      current = next;
      next = undefined;
      if (current.isReady) return up(current);
      around.inUse(undefined);
      change({ type: 'down', attempt: Math.max(1, tries), retryAt: clock.now(), reason, code });
      return change({ type: 'dial', attempt: tries + 1 });
    }
    around.inUse(undefined);
    if (code === IDLE && !around.isWanting()) return rest(reason, code);
    let when = parting.comeBack;
    if (parting.isUnauthorized || code === UNAUTHORIZED) when = unauthorized(parting);
    if (parting.isUseless) when = route.drop(link.kind.name) ? 'soon' : 'never';
    if (when === 'never') return change({ type: 'end', code, reason, willReturn: false });
    const isBlamed = unreached && network.online() && link.kind.name === route.name && around.isWanting();
    const isElsewhere = (isBlamed && route.failed()) || parting.isUseless;
    notBefore = clock.monotonic() + patience(retryAfterMs);
    const wait = patience(retryAfterMs) + (isElsewhere ? 0 : draw(when, tries));
    tries += 1;
    down(reason, code, wait);
  };

  const unwatch = network.watch((what) => {
    if (isClosed) return;
    if (what === 'offline') {
      if (timers.retry !== undefined) down('offline', undefined, 0);
      return;
    }
    if (what === 'online' && current && !current.kind.isSocket) {
      probes = 0;
      planProbe();
    }
    if (current?.isReady) current.doubt();
    else hurry();
  });

  queueMicrotask(dial);

  return {
    get state() {
      return state;
    },
    get current() {
      return current;
    },
    wake() {
      if (isIdle) dial();
    },
    reconnect() {
      if (isClosed || current) return;
      if (state.status === 'closed') {
        tries = memory.refusals = 0;
        dial();
      } else {
        hurry();
      }
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      unwatch();
      clear('retry', 'next', 'probe', 'leave', 'grace');
      for (const link of [current, next, ...retired]) link?.close();
      current = next = undefined;
      around.inUse(undefined);
      change({ type: 'end', code: NORMAL, reason: 'closed by the application', willReturn: false });
    },
    greeted(link) {
      if (link.kind.name === route.name) route.reached();
      if (!link.kind.isSocket) memory.refusals = 0;
    },
    ready(link) {
      if (link === current) return up(link);
      // if an answer is missing, the new one takes over all the same
      after('grace', settings.connectTimeoutMs, promote);
      link.sync();
    },
    settled(link) {
      if (link === next) promote();
    },
    renew(link) {
      if (link !== current || timers.next !== undefined) return;
      if (next) {
        if (purpose !== 'probe') return;
        next.close();
        next = undefined;
        clear('grace');
        planProbe();
      }
      after('next', RENEW_MS, () => {
        if (!current) return;
        if (around.isWanting()) return openNext(current.kind, 'renew');
        current.close();
        currentEnded(current, { reason: 'nothing is subscribed', code: IDLE, comeBack: 'soon' }, false);
      });
    },
    ended(link, parting, unreached) {
      if (parting.isUnreadable) around.unreadable();
      if (link === next) nextEnded(parting);
      else if (link === current) currentEnded(link, parting, unreached);
    },
    staled(link) {
      if (link !== current) return;
      if (link.stale) change({ type: 'stale', reason: link.stale.reason, since: link.stale.since });
      else change({ type: 'live' });
    },
    draining(link, { reconnectInMs }) {
      if (link !== current || reconnectInMs == null) return;
      const left = patience(reconnectInMs);
      if (!next && timers.next === undefined) {
        // not all of a gateway's clients at once, and mostly before the gateway closes, which it does at a random moment
        const wait = uniform(random, 0, Math.floor(left / 4));
        after('next', wait, () => current && openNext(current.kind, 'renew'));
      }
      after('leave', left + DRAIN_GRACE_MS, () => {
        link.close();
        currentEnded(link, { reason: 'left a draining gateway', comeBack: 'soon' }, false);
      });
    },
  };
}
