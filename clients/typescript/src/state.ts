/**
 * Where the client stands, as one value that a page can show, and how it gets from one to the next. Pure: what happens
 * is told to it, and it decides nothing.
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
  /** Program and version of the gateway, for people. */
  server: string | undefined;
  /** The stream, if the gateway knew it then. */
  epoch: string | undefined;
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

/** What changes a {@link State}. */
export type Happening =
  /** A try begins. */
  | { type: 'dial'; attempt: number }
  /** A connection can be used, or another one takes over; `stale` if the gateway has said so already. */
  | { type: 'up'; connection: Connection; stale: { reason?: Open<StaleReason>; since?: number } | undefined }
  | { type: 'stale'; reason: Open<StaleReason> | undefined; since: number | undefined }
  | { type: 'live' }
  /** The connection is gone, or a try came to nothing. */
  | { type: 'down'; attempt: number; retryAt: number | null; reason: string; code: number | undefined }
  | { type: 'end'; code: number | undefined; reason: string; willReturn: false | 'on_subscribe' };

/** The state after `happening`; the same object if it changes nothing, or means nothing there. */
export function nextState(state: State, happening: Happening): State {
  const connection = connectionOf(state);
  switch (happening.type) {
    case 'dial':
      return connection ? state : { status: 'connecting', attempt: happening.attempt };
    case 'up':
      return happening.stale
        ? {
            status: 'stale',
            reason: happening.stale.reason,
            since: happening.stale.since,
            connection: happening.connection,
          }
        : fresh(happening.connection);
    case 'stale':
      return connection ? { status: 'stale', reason: happening.reason, since: happening.since, connection } : state;
    case 'live':
      return state.status === 'stale' ? fresh(state.connection) : state;
    case 'down': {
      const { attempt, retryAt, reason, code } = happening;
      return { status: 'reconnecting', attempt, retryAt, reason, code };
    }
    case 'end': {
      const { code, reason, willReturn } = happening;
      return { status: 'closed', code, reason, willReturn };
    }
  }
}

function connectionOf(state: State): Connection | undefined {
  if (state.status === 'stale') return state.connection;
  if (state.status !== 'connected' && state.status !== 'fallback') return undefined;
  const { status: _, ...connection } = state;
  return connection;
}

const fresh = ({ transport, ...rest }: Connection): State =>
  transport === 'websocket' ? { status: 'connected', transport, ...rest } : { status: 'fallback', transport, ...rest };
