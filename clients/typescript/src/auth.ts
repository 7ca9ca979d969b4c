/**
 * Signing in on a connection that can be spoken to, and staying signed in: which token goes out when, and what the
 * answer means. A token that was sent is not kept, only a fingerprint to know it again.
 */

import { ceiling, patience, uniform } from './backoff.js';
import type { Parting } from './close.js';
import { mayRetry, OdinError } from './errors.js';
import type { ErrorMessage, ServerMessage } from './message.js';
import type { Settings } from './options.js';

/** A token with less to live was accepted all the same: the two clocks disagree, and only the gateway knows. */
const MIN_LIFE_MS = 1_000;
/** Longest life reckoned with; a timer takes no more. */
const MAX_LIFE_MS = 24 * 86_400_000;
/** Least time between two questions to the source, however often a gateway says that the token expires. */
const PACE_MS = 1_000;
/** The first token that is not accepted may be one that was replaced a moment ago; so many in a row are not. */
export const MAX_REFUSALS = 2;

/** What the client keeps of it between connections. */
export interface AuthMemory {
  /** Tokens in a row that were not accepted. */
  refusals: number;
  /** The last of them was told by a message: a close code says nothing new. */
  isCounted: boolean;
}

/** What signing in is given. */
export interface AuthSurroundings {
  settings: Settings;
  memory: AuthMemory;
  /** Asks the source. */
  ask(): Promise<string>;
  /** Sends `auth`; gives its id. */
  send(token: string): number;
  /** Signed in, or refreshed. */
  done(sub: string, expiresAt: number | undefined, refresh: boolean): void;
  /** A try came to nothing. */
  failed(error: OdinError): void;
  /** The connection is of no use. */
  leave(parting: Parting): void;
}

/** See the file. */
export interface Auth {
  /** Sends the first token. */
  begin(token: string): void;
  /** Whether the message was an answer to it. */
  take(message: ServerMessage): boolean;
  /** `token_expiring`. */
  expiring(leftMs: number | undefined): void;
  /** The connection has ended. */
  stop(): void;
}

/** Signing in on one connection. */
export function createAuth({ settings, memory, ask, send, done, failed, leave }: AuthSurroundings): Auth {
  const { clock, random, connectTimeoutMs, backoffBaseMs, backoffCapMs } = settings;
  let sent: { id: number; print: number } | undefined;
  let inForce: number | undefined;
  let refused: number | undefined;
  /** When the token in force expires, by the monotonic clock. */
  let expires: number | undefined;
  let tries = 0;
  let askedAt = -Infinity;
  let isAsking = false;
  let isOver = false;
  let timer: unknown;

  const after = (ms: number, run: () => void) => {
    clock.clearTimeout(timer);
    timer = clock.setTimeout(run, ms);
  };

  const submit = (token: string) => {
    const print = fingerprint(token);
    // nothing is wrong: the next one is not there yet
    if (print === inForce) return void postpone(0);
    if (print === refused) return leave({ reason: 'the token was refused', comeBack: 'later' });
    sent = { id: send(token), print };
    after(connectTimeoutMs, () => {
      sent = undefined;
      const message = `no answer to the token within ${connectTimeoutMs} ms`;
      if (inForce === undefined) return leave({ reason: message, comeBack: 'soon' });
      fail('unavailable', message, postpone(0));
    });
  };

  const fetchToken = () => {
    clock.clearTimeout(timer);
    isAsking = true;
    askedAt = clock.monotonic();
    ask().then(
      (token) => {
        isAsking = false;
        if (!isOver) submit(token);
      },
      (error: unknown) => {
        isAsking = false;
        if (isOver) return;
        const message = `no token: ${String(error)}`;
        if (inForce === undefined) return leave({ reason: message, comeBack: 'soon' });
        fail('no_token', message, postpone(0));
      },
    );
  };

  /** Plans another try, unless the token in force has expired by then; gives the wait. */
  const postpone = (atLeastMs: number): number | undefined => {
    const wait = atLeastMs + uniform(random, 0, ceiling('soon', tries++, backoffBaseMs, backoffCapMs));
    if (expires !== undefined && clock.monotonic() + wait >= expires) {
      clock.clearTimeout(timer);
      return undefined;
    }
    after(wait, fetchToken);
    return wait;
  };

  const fail = (code: string, message: string, retryInMs: number | undefined) =>
    failed(new OdinError(code, message, { retryInMs }));

  const refuse = ({ code, message, retryAfterMs }: ErrorMessage, print: number) => {
    const reason = `${code}: ${message}`;
    if (code === 'forbidden') return leave({ reason, comeBack: 'never' });
    memory.isCounted = false;
    if (inForce !== undefined || mayRetry(code)) return fail(code, message, postpone(patience(retryAfterMs)));
    memory.refusals += 1;
    memory.isCounted = true;
    refused = print;
    if (memory.refusals >= MAX_REFUSALS) return leave({ reason, comeBack: 'later', retryAfterMs });
    fail(code, message, 0);
    fetchToken();
  };

  return {
    begin: submit,
    take(message) {
      if ((message.type !== 'authenticated' && message.type !== 'error') || !sent || message.id !== sent.id)
        return false;
      const { print } = sent;
      sent = undefined;
      clock.clearTimeout(timer);
      if (message.type === 'error') {
        refuse(message, print);
        return true;
      }
      const isRefresh = inForce !== undefined;
      [inForce, refused, tries, memory.refusals] = [print, undefined, 0, 0];
      const left = (message.expiresAt ?? 0) - clock.now();
      const wait = refreshAfter(random, left);
      expires = wait === undefined ? undefined : clock.monotonic() + left;
      if (wait !== undefined) after(wait, fetchToken);
      done(message.sub, message.expiresAt, isRefresh);
      return true;
    },
    expiring(leftMs) {
      if (inForce === undefined) return;
      if (leftMs !== undefined) expires = clock.monotonic() + leftMs;
      if (!sent && !isAsking) after(Math.max(0, askedAt + PACE_MS - clock.monotonic()), fetchToken);
    },
    stop() {
      isOver = true;
      clock.clearTimeout(timer);
    },
  };
}

/**
 * When to refresh a token that has so long to live: between half and three quarters of that, so that a fleet does not ask
 * its source together. Undefined if the clocks disagree about its life.
 */
export function refreshAfter(random: () => number, leftMs: number): number | undefined {
  if (leftMs < MIN_LIFE_MS) return undefined;
  const life = Math.min(leftMs, MAX_LIFE_MS);
  return uniform(random, Math.floor(life / 2), Math.floor((life * 3) / 4));
}

/** A number by which a token is known again, and which does not give it away. */
function fingerprint(text: string): number {
  let print = 7;
  for (let at = 0; at < text.length; at += 1) print = (print * 31 + text.charCodeAt(at)) % 140_737_488_355_213;
  return print;
}
