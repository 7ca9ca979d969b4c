/**
 * Where the client stands, as one value that a page can show.
 */

import type { Open, StaleReason } from './message.js';
import type { TransportName } from './options.js';

/** A connection that a gateway has confirmed. */
export interface Connection {
  transport: TransportName;
  /** Its name in the gateway's logs; empty for polls. */
  connectionId: string;
  /** When it was confirmed, in milliseconds since 1970 by this device's clock. */
  since: number;
  /** Connections of the gateway or its cluster, when this one began; undefined for polls. */
  clients: number | undefined;
}

/** See {@link Odin.state}. */
export type State =
  /** A connect is under way; `attempt` counts from 1 since the last good connection. */
  | { status: 'connecting'; attempt: number }
  /** Connected by WebSocket, and values are fresh. */
  | ({ status: 'connected'; transport: 'websocket' } & Connection)
  /** Connected by a fallback, and values are fresh. */
  | ({ status: 'fallback'; transport: 'events' | 'poll' } & Connection)
  /** Connected, and the gateway says that values may be old; `since`: complete up to then, by the gateway's clock. */
  | { status: 'stale'; reason: Open<StaleReason> | undefined; since: number | undefined; connection: Connection }
  /**
   * Not connected. `retryAt`: when the next try begins, in milliseconds since 1970; null: when the network is back.
   * `code`: the close code, or the HTTP status, if there was one.
   */
  | { status: 'reconnecting'; attempt: number; retryAt: number | null; reason: string; code: number | undefined }
  /**
   * Not connected, and no try is planned. `willReturn`: `on_subscribe` if the gateway closed because nothing was
   * subscribed; false if only {@link Odin.reconnect} helps, or after {@link Odin.close} nothing.
   */
  | { status: 'closed'; code: number | undefined; reason: string; willReturn: false | 'on_subscribe' };
