/**
 * Which way to try next. WebSocket first; a way that fails so many times in a row makes room for the next one, and after
 * the last comes the first again: if nothing works, the way is not to blame. Pure.
 */

import type { TransportName } from './options.js';

/** See the file. */
export interface Route {
  /** The way to try now. */
  readonly name: TransportName;
  /** A connect came to nothing. Says whether the next one goes another way. */
  failed(): boolean;
  /** A gateway was reached this way. */
  reached(): void;
  /** This way is of no use, now and later. False if it is the last one. */
  drop(name: TransportName): boolean;
  /** Takes this way from now on. */
  take(name: TransportName): void;
  /** Whether this way may be tried. */
  has(name: TransportName): boolean;
}

/** A route over these transports, changed after `patience` failures. */
export function createRoute(names: readonly TransportName[], patience: number): Route {
  const ways = [...names];
  let [at, failures] = [0, 0];
  return {
    get name() {
      return ways[at]!;
    },
    failed() {
      failures += 1;
      if (failures < patience || ways.length === 1) return false;
      at = (at + 1) % ways.length;
      failures = 0;
      return true;
    },
    reached() {
      failures = 0;
    },
    drop(name) {
      const gone = ways.indexOf(name);
      if (ways.length === 1 || gone < 0) return false;
      ways.splice(gone, 1);
      if (gone < at) at -= 1;
      at %= ways.length;
      failures = 0;
      return true;
    },
    take(name) {
      at = Math.max(0, ways.indexOf(name));
      failures = 0;
    },
    has: (name) => ways.includes(name),
  };
}
