/**
 * What can go wrong, by code. One class for all of it: a program looks at `code`, people read `message`.
 */

import type { ErrorCode, Open } from './message.js';

/** Codes of the client itself, beside those of the gateway. */
export type ClientErrorCode =
  /** A name breaks the grammar of channels, an option is out of its bounds, or two subscriptions contradict. */
  | 'invalid_argument'
  /** The client was closed. */
  | 'closed'
  /** A publication was not sent: as many wait already as may. */
  | 'queue_full'
  /** A publication was not sent in time. */
  | 'not_sent'
  /** A publication was sent and no answer came: it may have been stored, and must not be repeated blindly. */
  | 'outcome_unknown'
  /** A `signal` was aborted before anything was sent. */
  | 'aborted'
  /** An iterator fell too far behind in mode `all` and has ended. */
  | 'overflow'
  /** The source of tokens failed. */
  | 'no_token'
  /** The codec could not be loaded; the connection speaks JSON. */
  | 'no_codec';

/** An error of the client or of the gateway. */
export class OdinError extends Error {
  override readonly name = 'OdinError';
  /** For programs. */
  readonly code: Open<ErrorCode | ClientErrorCode>;
  /** The channel it is about, as subscribed or published. */
  readonly channel: string | undefined;
  /** The limit that was hit. */
  readonly limit: number | undefined;
  /** The same request may succeed after so many milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** The client tries again by itself after so many milliseconds; undefined: it does not. */
  readonly retryInMs: number | undefined;

  constructor(code: Open<ErrorCode | ClientErrorCode>, message: string, more: OdinErrorDetails = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.channel = more.channel;
    this.limit = more.limit;
    this.retryAfterMs = more.retryAfterMs;
    this.retryInMs = more.retryInMs;
  }
}

/** What an {@link OdinError} may say beside code and message. */
export interface OdinErrorDetails {
  channel?: string | undefined;
  limit?: number | undefined;
  retryAfterMs?: number | undefined;
  retryInMs?: number | undefined;
  cause?: unknown;
}

/** Codes after which the same request may succeed without a change. */
const RETRY = new Set<string>(['auth_unavailable', 'too_many_connections', 'rate_limited', 'unavailable', 'internal']);

/** Whether the same request may succeed later; false for a code that is not known. */
export const mayRetry = (code: string): boolean => RETRY.has(code);
