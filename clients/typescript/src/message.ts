/**
 * The messages of the wire protocol, version 1, as `docs/protocol.md` has them.
 *
 * Only shapes: nothing here checks or sends anything. What a client does not know is ignored, so every code and reason
 * is open for texts of tomorrow.
 */

/** A text that is one of these today and may be another one tomorrow. */
export type Open<T extends string> = T | (string & {});

/** How a subscription is served: `latest` merges what a slow reader missed, `all` never leaves anything out silently. */
export type Mode = 'latest' | 'all';

/** Why a request was refused, as the gateway says it. */
export type ErrorCode =
  | 'invalid_message'
  | 'unknown_type'
  | 'message_too_big'
  | 'invalid_channel'
  | 'unknown_channel'
  | 'unsupported'
  | 'auth_required'
  | 'auth_failed'
  | 'auth_unavailable'
  | 'forbidden'
  | 'too_many_channels'
  | 'too_many_subscriptions'
  | 'too_many_connections'
  | 'too_wide'
  | 'rate_limited'
  | 'invalid_payload'
  | 'unavailable'
  | 'internal';

/** Why a subscription did not go on where it was. */
export type ResumeReason =
  'invalid_cursor' | 'epoch_changed' | 'rolled_back' | 'cursor_too_old' | 'replay_limit' | 'unsupported';

/** Why publications were left out. */
export type GapReason = 'retention' | 'replay_limit' | 'removed' | 'invalid';

/** Why values may be old. */
export type StaleReason = 'bus_lost' | 'unverified' | 'feed_silent';

/** What the gateway says about itself or the connection. */
export type SystemState = 'draining' | 'token_expiring' | 'notice';

/** Id of a request. */
export type RequestId = number | string;

/** One entry of a `subscribe`. */
export interface SubscribeEntry {
  channel: string;
  since?: string;
  mode?: Mode;
  filter?: unknown;
  every?: number;
}

/** What a client sends. */
export type ClientMessage =
  | { type: 'subscribe'; id?: RequestId; channels: (string | SubscribeEntry)[]; since?: string }
  | { type: 'unsubscribe'; id?: RequestId; channels: string[] }
  | { type: 'ping'; id?: RequestId }
  | { type: 'auth'; id?: RequestId; token: string }
  | { type: 'publish'; id?: RequestId; channel: string; data: unknown };

/** The first message of a connection. */
export interface StatusMessage {
  type: 'connection:status';
  status: string;
  connectionId: string;
  heartbeatMs: number;
  idleTimeoutMs?: number;
  connectedClients: number;
  maxMessageBytes: number;
  epoch?: string;
  server?: string;
}

/** A subscription begins or goes on. */
export interface SubscribedMessage {
  type: 'subscribed';
  id?: RequestId;
  channel: string;
  mode: Mode;
  recovered: boolean;
  reason?: Open<ResumeReason>;
  cursor?: string;
}

/** One publication. */
export interface UpdateMessage<T = unknown> {
  type: 'update';
  /** The concrete channel: `price:BTC`, also for a subscription to `price:*`. */
  channel: string;
  /** Which subject of the channel, where one channel covers several without naming them; at most 256 bytes. */
  key?: string;
  /** Sequence in the stream, from 1. */
  seq: number;
  /** Previous sequence of the same chain, 0 for the first; absent where it is not known. */
  prev?: number;
  /** When the stream stored it, in milliseconds since 1970. */
  ts: number;
  /** The stream; sequences of different ones cannot be compared. */
  epoch: string;
  /** True: the last stored value, sent because the subscription begins. */
  snapshot?: boolean;
  /** The publisher's JSON. */
  data: T;
}

/** Publications that were left out. */
export interface GapMessage {
  type: 'gap';
  channel: string;
  key?: string;
  after: number;
  until: number;
  reason: Open<GapReason>;
}

/** A request, or one channel of it, was refused. */
export interface ErrorMessage {
  type: 'error';
  id?: RequestId;
  code: Open<ErrorCode>;
  message: string;
  channel?: string;
  limit?: number;
  retryAfterMs?: number;
}

/** News of the gateway. */
export interface SystemMessage {
  type: 'system:status';
  status: Open<SystemState>;
  reconnectInMs?: number;
  expiresInMs?: number;
  message?: string;
}

/** What a gateway sends. */
export type ServerMessage =
  | StatusMessage
  | SubscribedMessage
  | { type: 'unsubscribed'; id?: RequestId; channel: string }
  | UpdateMessage
  | GapMessage
  | { type: 'stale'; channel?: string; reason?: Open<StaleReason>; since?: number }
  | { type: 'live'; channel?: string }
  /** `channel` never comes by a WebSocket: polls tell positions of single channels with it. */
  | { type: 'checkpoint'; cursor: string; channel?: string }
  | SystemMessage
  | { type: 'pong'; id?: RequestId; ts: number }
  | { type: 'authenticated'; id?: RequestId; sub: string; expiresAt?: number }
  | { type: 'published'; id?: RequestId; channel: string; seq: number; epoch: string }
  | ErrorMessage;
