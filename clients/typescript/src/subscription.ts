/**
 * What an application holds of a subscription. Several may share one subscription on the wire.
 */

import { createEmitter } from './emitter.js';
import type { OdinError } from './errors.js';
import type { GapReason, Mode, Open, ResumeReason, StaleReason } from './message.js';
import { createQueue, type Queue } from './queue.js';

/** One publication of a channel. */
export interface Update<T = unknown> {
  /** The concrete channel: `price:BTC`, also for a subscription to `price:*`. */
  readonly channel: string;
  /** Which subject of the channel, where one channel covers several; see {@link Signal}. */
  readonly key?: string;
  /** Sequence in the stream, from 1; rises within one channel and key. */
  readonly seq: number;
  /** Previous sequence of the same channel and key, where it is known. */
  readonly prev?: number;
  /** When the stream stored it, in milliseconds since 1970 by its clock. */
  readonly ts: number;
  /** The stream; sequences of different ones cannot be compared. */
  readonly epoch: string;
  /** The last stored value, as the subscription begins; false: a new one. */
  readonly snapshot: boolean;
  /** What was published. */
  readonly data: T;
}

/** Publications with `after` < seq <= `until` were not delivered. */
export interface Gap {
  /** The concrete channel, or the pattern for all of its channels. */
  readonly channel: string;
  /** One key of the channel; undefined: all of them. */
  readonly key?: string;
  /** Last sequence before the gap. */
  readonly after: number;
  /** Last sequence of the gap. */
  readonly until: number;
  /** Why; `unannounced`: the gateway did not say anything, and has broken its promise. */
  readonly reason: Open<GapReason> | 'unannounced';
}

/** A subscription begins, or goes on after a new connection. */
export interface Begin {
  /** As subscribed. */
  readonly channel: string;
  /** The mode in force. */
  readonly mode: Mode;
  /** True: everything after the last position follows. False: a snapshot follows. */
  readonly recovered: boolean;
  /** Why it is not recovered, if that was asked for. */
  readonly reason?: Open<ResumeReason>;
  /** It was known before and does not go on where it was: in mode `all` publications may be missing without a gap. */
  readonly anew: boolean;
}

/** Values may be old. */
export interface Stale {
  /** As subscribed; undefined: all. */
  readonly channel?: string;
  readonly reason?: Open<StaleReason>;
  /** Complete up to then, in milliseconds since 1970 by the gateway's clock. */
  readonly since?: number;
}

/** A subscription has ended. */
export interface End {
  /** As subscribed. */
  readonly channel: string;
  /** Why, unless the application asked for it. */
  readonly error?: OdinError;
}

/** Events of a subscription. */
export interface SubscriptionEvents<T = unknown> {
  update: Update<T>;
  gap: Gap;
  begin: Begin;
  stale: Stale;
  live: { readonly channel?: string };
  error: OdinError;
  end: End;
}

/** Ends what was begun; harmless when called again. */
export type Off = () => void;

/** A subscription to a channel or pattern. It lives across connections, until it is unsubscribed or refused. */
export interface Subscription<T = unknown> extends AsyncIterable<Update<T>> {
  /** As subscribed. */
  readonly channel: string;
  /** The position to come back to, for `since` of a later session; undefined while there is none. */
  readonly cursor: string | undefined;
  /** The mode in force; undefined until the gateway has said it. */
  readonly mode: Mode | undefined;
  /** `pending` until the gateway has confirmed it on the connection there is now. */
  readonly status: 'pending' | 'active' | 'ended';
  /** Why values may be old, if they may: no connection (`away`), or as the gateway says. */
  readonly stale: Stale | { readonly reason: 'away' } | undefined;
  /** Calls `listener` for each event; gives a function that ends it. */
  on<K extends keyof SubscriptionEvents<T>>(
    event: K,
    listener: (event: SubscriptionEvents<T>[K]) => void,
    options?: { once?: boolean },
  ): Off;
  /** Ends the subscription: no listener is called after this, and iterators end. */
  unsubscribe(): void;
  /**
   * Updates from now on, one by one. What waits is bounded: in mode `latest` the newest of each channel and key is
   * kept; in mode `all` an iterator that falls {@link ConnectOptions.iteratorQueue} behind gives what it has, and then
   * throws an {@link OdinError} with the code `overflow`.
   */
  [Symbol.asyncIterator](): AsyncIterator<Update<T>, undefined>;
}

/** The client's end of a subscription. */
export interface Handle {
  readonly subscription: Subscription;
  /** It has been given the last values that were known when it came. */
  isPrimed: boolean;
  update(update: Update, mode: Mode): void;
  emit<K extends keyof SubscriptionEvents>(event: K, value: SubscriptionEvents[K]): void;
  /** Nothing more comes; `event` unless the application asked for it. */
  end(event?: End): void;
}

/** What a handle asks the client. */
export interface View {
  cursor(): string | undefined;
  mode(): Mode | undefined;
  isActive(): boolean;
  stale(): Subscription['stale'];
  /** The application wants no more. */
  leave(handle: Handle): void;
  /** An iterator has ended by an error. */
  failed(error: OdinError): void;
}

/** Makes the two ends of a subscription. */
export function createHandle(channel: string, queueLimit: number, view: View, signal?: AbortSignal): Handle {
  const emitter = createEmitter<SubscriptionEvents>();
  const queues = new Set<Queue<unknown>>();
  let isEnded = false;

  const unsubscribe = () => {
    if (!isEnded) view.leave(handle);
  };
  signal?.addEventListener('abort', unsubscribe);

  const subscription: Subscription = {
    channel,
    get cursor() {
      return view.cursor();
    },
    get mode() {
      return view.mode();
    },
    get status() {
      if (isEnded) return 'ended';
      return view.isActive() ? 'active' : 'pending';
    },
    get stale() {
      return view.stale();
    },
    on: emitter.on,
    unsubscribe,
    [Symbol.asyncIterator]() {
      const queue: Queue<unknown> = createQueue(channel, queueLimit, () => queues.delete(queue));
      if (isEnded) queue.end();
      else queues.add(queue);
      return queue;
    },
  };
  const handle: Handle = {
    subscription,
    isPrimed: false,
    update(update, mode) {
      emitter.emit('update', update);
      for (const queue of queues) {
        const error = queue.push(update, mode);
        if (!error) continue;
        emitter.emit('error', error);
        view.failed(error);
      }
    },
    emit: emitter.emit,
    end(event) {
      isEnded = true;
      signal?.removeEventListener('abort', unsubscribe);
      for (const queue of [...queues]) {
        if (event) queue.end(event.error);
        else void queue.return?.();
      }
      if (event) emitter.emit('end', event);
      emitter.clear();
    },
  };
  return handle;
}
