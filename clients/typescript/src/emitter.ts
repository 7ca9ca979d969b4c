/**
 * Listeners by event. A listener that throws disturbs nobody: its error is reported like that of any other callback.
 */

import type { Off } from './subscription.js';

interface Entry {
  listener: (event: never) => void;
  isOnce: boolean;
  isOff: boolean;
}

/** See the file. */
export interface Emitter<E> {
  on<K extends keyof E>(event: K, listener: (event: E[K]) => void, options?: { once?: boolean }): Off;
  emit<K extends keyof E>(event: K, value: E[K]): void;
  /** Ends all listeners. */
  clear(): void;
}

/** Listeners of one object. */
export function createEmitter<E>(): Emitter<E> {
  // lists are replaced, never changed: whoever is being told is not disturbed by who comes and goes meanwhile
  const lists = new Map<keyof E, readonly Entry[]>();
  const drop = (event: keyof E, entry: Entry) => {
    entry.isOff = true;
    lists.set(event, lists.get(event)?.filter((other) => other !== entry) ?? []);
  };
  return {
    on(event, listener, options) {
      const entry: Entry = { listener, isOnce: options?.once ?? false, isOff: false };
      lists.set(event, [...(lists.get(event) ?? []), entry]);
      return () => drop(event, entry);
    },
    emit(event, value) {
      const list = lists.get(event);
      if (!list) return;
      for (const entry of list) {
        if (entry.isOff) continue;
        if (entry.isOnce) drop(event, entry);
        try {
          entry.listener(value as never);
        } catch (error) {
          report(error);
        }
      }
    },
    clear() {
      for (const list of lists.values()) for (const entry of list) entry.isOff = true;
      lists.clear();
    },
  };
}

function report(error: unknown): void {
  const { reportError } = globalThis as { reportError?: (error: unknown) => void };
  if (reportError) return reportError(error);
  queueMicrotask(() => {
    throw error;
  });
}
