/**
 * What waits in an iterator, bounded: in mode `latest` the newest update of each chain, in mode `all` every one up to a
 * limit. Beyond that it gives what it has and then throws: an application that is too slow is told so.
 */

import { OdinError } from './errors.js';
import type { Mode } from './message.js';
import type { Update } from './subscription.js';

/** See the file. */
export interface Queue<T> extends AsyncIterator<Update<T>, undefined> {
  /** Takes an update; gives the error with which it ends if there is no room. */
  push(update: Update<T>, mode: Mode): OdinError | undefined;
  /** Nothing more comes: what waits is still given, and then the error, if there is one. */
  end(error?: OdinError): void;
}

/** A queue of at most `limit` updates of mode `all`. `done` is called when the application wants no more. */
export function createQueue<T>(channel: string, limit: number, done: () => void): Queue<T> {
  // a map keeps the order in which chains first had something to say
  const waiting = new Map<unknown, Update<T>>();
  const takers: PromiseWithResolversOf<IteratorResult<Update<T>, undefined>>[] = [];
  let isEnded = false;
  let failure: OdinError | undefined;

  const end = (error?: OdinError) => {
    if (isEnded) return;
    isEnded = true;
    failure = error;
    for (const taker of takers.splice(0)) settle(taker);
  };
  const settle = (taker: PromiseWithResolversOf<IteratorResult<Update<T>, undefined>>) => {
    const error = failure;
    failure = undefined;
    if (error) taker.reject(error);
    else taker.resolve({ done: true, value: undefined });
  };

  return {
    push(update, mode) {
      if (isEnded) return undefined;
      const taker = takers.shift();
      if (taker) {
        taker.resolve({ done: false, value: update });
        return undefined;
      }
      const key = mode === 'latest' ? `${update.channel} ${update.key ?? ''}` : update;
      if (mode === 'all' && waiting.size >= limit) {
        const message = `the iterator of ${channel} fell ${limit} updates behind`;
        const error = new OdinError('overflow', message, { channel, limit });
        end(error);
        done();
        return error;
      }
      waiting.set(key, update);
      return undefined;
    },
    end,
    next() {
      for (const [key, value] of waiting) {
        waiting.delete(key);
        return Promise.resolve({ done: false, value });
      }
      return new Promise((resolve, reject) => {
        const taker = { resolve, reject };
        if (isEnded) settle(taker);
        else takers.push(taker);
      });
    },
    return() {
      waiting.clear();
      end();
      done();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}

interface PromiseWithResolversOf<T> {
  resolve: (value: T) => void;
  reject: (error: OdinError) => void;
}
