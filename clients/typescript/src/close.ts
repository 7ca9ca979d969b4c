/**
 * Why a connection ended, and whether to come back: the table of close codes, and that of HTTP answers.
 */

/** Whether to come back: after a short wait, after a longer one, or not by itself. */
export type ComeBack = 'soon' | 'later' | 'never';

/** Why there is no connection. */
export interface Parting {
  /** For people. */
  reason: string;
  comeBack: ComeBack;
  /** The close code, or the HTTP status. */
  code?: number | undefined;
  /** Least wait, whatever the back-off draws. */
  retryAfterMs?: number | undefined;
  /** The transport is of no use here: not offered by the gateway, or not by this runtime. */
  isUseless?: boolean;
  /** The token was not accepted. */
  isUnauthorized?: boolean;
  /** A message could not be read. */
  isUnreadable?: boolean;
}

/** The client asked for the end. */
export const NORMAL = 1000;
/** Nothing is subscribed: come back when something is. */
export const IDLE = 4002;
/** The token is not valid: come back only with another one. */
export const UNAUTHORIZED = 4401;

const SOON = [1001, 1005, 1006, 1012, 4000, IDLE, 4003];
const NEVER = [NORMAL, 1002, 1003, 1007, 1008, 1009];

/** What a close code asks for. */
export function comeBack(code: number): ComeBack {
  if (SOON.includes(code)) return 'soon';
  return NEVER.includes(code) || (code >= 4400 && code < 5000) ? 'never' : 'later';
}

const HOPELESS = [400, 401, 403, 404, 405, 413, 414, 422, 426, 431];

/** What an HTTP answer other than success asks for. */
export const comeBackAfter = (status: number): ComeBack => (HOPELESS.includes(status) ? 'never' : 'later');
