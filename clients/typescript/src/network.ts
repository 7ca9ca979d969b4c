/**
 * What a browser says about network and screen. Elsewhere there is nobody to ask: an application gives its own
 * {@link Network}, or the client takes the network for there.
 */

import type { Network } from './options.js';

interface Listens {
  addEventListener(event: string, listener: () => void): void;
  removeEventListener(event: string, listener: () => void): void;
}

/** The browser's network and page; undefined where there is none. Workers have a network and no page. */
export function browserNetwork(): Network | undefined {
  const { document, navigator } = globalThis as {
    document?: Listens & { visibilityState?: string };
    navigator?: { onLine?: boolean };
  };
  const target = globalThis as unknown as Partial<Listens>;
  if (typeof navigator?.onLine !== 'boolean' || typeof target.addEventListener !== 'function') return undefined;
  return {
    online: () => navigator.onLine !== false,
    watch(tell) {
      const online = () => tell('online');
      const offline = () => tell('offline');
      const visible = () => {
        if (document?.visibilityState !== 'hidden') tell('visible');
      };
      const watched: [Listens | undefined, string, () => void][] = [
        [target as Listens, 'online', online],
        [target as Listens, 'offline', offline],
        [document, 'visibilitychange', visible],
        // pages that come back from the back-forward cache, or were frozen
        [target as Listens, 'pageshow', visible],
        [document, 'resume', visible],
      ];
      for (const [where, event, listener] of watched) where?.addEventListener(event, listener);
      return () => {
        for (const [where, event, listener] of watched) where?.removeEventListener(event, listener);
      };
    },
  };
}
