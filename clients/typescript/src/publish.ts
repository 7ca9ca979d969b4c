/**
 * Publications under way: those that wait to be sent, and those that wait for their answer. One is sent once; when its
 * answer does not come its outcome is not known, and that is what is said.
 */

import { patience } from './backoff.js';
import { bytesOf } from './codec.js';
import { isChannel, isPattern } from './channel.js';
import { OdinError } from './errors.js';
import type { ClientMessage, ErrorMessage, ServerMessage } from './message.js';
import type { PublishOptions, Settings } from './options.js';

/** A publication that the stream has stored. */
export interface Published {
  readonly channel: string;
  readonly seq: number;
  readonly epoch: string;
}

/** Publications under way at the same time. */
const MAX_SENT = 16;
/** What a payload may be nested. */
const MAX_DEPTH = 64;

/** Where publications go. */
export interface Outlet {
  /** Largest message that it takes, in bytes. */
  readonly maxBytes: number;
  encode(message: ClientMessage): string | Uint8Array;
  send(message: ClientMessage): void;
}

interface Entry {
  channel: string;
  /** As it was when it was handed over, whatever becomes of the object. */
  text: string;
  /** Where it was sent; undefined while it waits. */
  outlet: Outlet | undefined;
  settle(outcome: Published | OdinError): void;
}

/** See the file. */
export interface Publishes {
  add(channel: string, data: unknown, options: PublishOptions): Promise<Published>;
  /** Sends what waits, as much as may be under way. */
  flush(outlet: Outlet): void;
  /** Whether the message was an answer to one of them. */
  take(message: ServerMessage): boolean;
  /** Whether any that was sent there has no answer yet. */
  isWaiting(outlet: Outlet): boolean;
  /** It is gone: the outcome of what was sent there is unknown. */
  lost(outlet: Outlet): void;
  /** How many there are. */
  readonly size: number;
  close(): void;
}

/** Publications of one client. `changed` is called when there may be something to send, or an answer has come. */
export function createPublishes(settings: Settings, nextId: () => number, changed: () => void): Publishes {
  const { clock } = settings;
  const waiting = new Set<Entry>();
  const sent = new Map<unknown, Entry>();
  /** The times for which the gateway asked for patience, as timers. */
  const holds = new Set<unknown>();

  const unknown = (channel: string, why: string, cause?: unknown) =>
    new OdinError('outcome_unknown', `${why}: the publication may have been stored`, { channel, cause });

  const finish = (id: unknown, outcome: Published | OdinError) => {
    const entry = sent.get(id);
    sent.delete(id);
    entry?.settle(outcome);
    return entry !== undefined;
  };

  const add: Publishes['add'] = (channel, data, { signal, timeoutMs = settings.publishTimeoutMs }) =>
    new Promise((resolve, reject) => {
      const refuse = (code: 'invalid_argument' | 'aborted', message: string, cause?: unknown) =>
        reject(new OdinError(code, message, { channel, cause }));
      if (!isChannel(channel) || isPattern(channel)) return refuse('invalid_argument', 'not the name of a channel');
      let text: string | undefined;
      try {
        text = JSON.stringify(data);
      } catch (error) {
        return refuse('invalid_argument', 'data that JSON cannot say', error);
      }
      if (text === undefined || depthOf(text) > MAX_DEPTH || LONE_SURROGATE.test(text))
        return refuse('invalid_argument', 'data that is no payload');
      if (signal?.aborted) return refuse('aborted', 'aborted before it was sent', signal.reason);
      const giveUp = (code: 'aborted' | 'not_sent', message: string, cause?: unknown) => {
        const { outlet } = entry;
        for (const [id, other] of sent) if (other === entry) sent.delete(id);
        entry.settle(outlet ? unknown(channel, message, cause) : new OdinError(code, message, { channel, cause }));
      };
      const abort = () => giveUp('aborted', 'aborted', signal?.reason);
      const timer = clock.setTimeout(() => giveUp('not_sent', `no answer within ${timeoutMs} ms`), timeoutMs);
      const entry: Entry = {
        channel,
        text,
        outlet: undefined,
        settle(outcome) {
          waiting.delete(entry);
          clock.clearTimeout(timer);
          signal?.removeEventListener('abort', abort);
          if (outcome instanceof OdinError) reject(outcome);
          else resolve(outcome);
          changed();
        },
      };
      signal?.addEventListener('abort', abort);
      waiting.add(entry);
      changed();
      if (waiting.has(entry) && waiting.size > settings.publishQueue) {
        entry.settle(new OdinError('queue_full', `${settings.publishQueue} publications wait already`, { channel }));
      }
    });

  const flush: Publishes['flush'] = (outlet) => {
    if (holds.size > 0) return;
    for (const entry of waiting) {
      if (sent.size >= MAX_SENT) return;
      const { channel, text } = entry;
      const id = nextId();
      const message: ClientMessage = { type: 'publish', id, channel, data: JSON.parse(text) as unknown };
      const bytes = bytesOf(outlet.encode(message));
      if (bytes > outlet.maxBytes) {
        // it would end the connection, and for good
        const limit = outlet.maxBytes;
        entry.settle(
          new OdinError('message_too_big', `${bytes} bytes, at most ${limit} are taken`, { channel, limit }),
        );
        continue;
      }
      waiting.delete(entry);
      entry.outlet = outlet;
      sent.set(id, entry);
      outlet.send(message);
    }
  };

  const refused = ({ id, code, message, limit, retryAfterMs }: ErrorMessage): boolean => {
    const { channel } = sent.get(id) ?? {};
    if (channel === undefined) return false;
    if (code === 'rate_limited') {
      // by the timer alone: a clock may say that it is a moment too early, and nobody would come again
      const release = () => {
        holds.delete(hold);
        changed();
      };
      const hold = clock.setTimeout(release, patience(retryAfterMs));
      holds.add(hold);
    }
    // the gateway has sent it on, and does not know what became of it
    if (code === 'unavailable') return finish(id, unknown(channel, message));
    return finish(id, new OdinError(code, message, { channel, limit, retryAfterMs }));
  };

  return {
    add,
    flush,
    take(message) {
      if (message.type === 'error') return refused(message);
      if (message.type !== 'published') return false;
      const { id, channel, seq, epoch } = message;
      return finish(id, { channel, seq, epoch });
    },
    isWaiting: (outlet) => [...sent.values()].some((entry) => entry.outlet === outlet),
    lost(outlet) {
      for (const [id, entry] of [...sent]) {
        if (entry.outlet === outlet) finish(id, unknown(entry.channel, 'the connection ended'));
      }
    },
    get size() {
      return waiting.size + sent.size;
    },
    close() {
      holds.forEach((hold) => clock.clearTimeout(hold));
      for (const [id, entry] of [...sent]) finish(id, unknown(entry.channel, 'the client was closed'));
      for (const entry of [...waiting]) {
        entry.settle(new OdinError('closed', 'the client was closed', { channel: entry.channel }));
      }
    },
  };
}

/** A surrogate without its partner, which JSON can say and UTF-8 cannot. */
const LONE_SURROGATE = /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/;

/** How deep a JSON text is nested. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (part === '[' || part === '{') deepest = Math.max(deepest, (depth += 1));
    else if (part === ']' || part === '}') depth -= 1;
  }
  return deepest;
}
