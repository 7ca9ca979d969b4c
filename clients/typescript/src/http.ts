/**
 * What the two fallbacks share: requests of `docs/http.md`, their refusals, and publishing.
 */

import { comeBackAfter, type Parting } from './close.js';
import { checkMessage } from './codec.js';
import type { ClientMessage, ErrorMessage, ServerMessage, SubscribeEntry } from './message.js';
import type { Surroundings } from './transport.js';

/** Refusals that are about what was asked for, not about the connection. */
const ABOUT_CHANNELS = [
  'invalid_channel',
  'unknown_channel',
  'unsupported',
  'auth_required',
  'forbidden',
  'too_wide',
  'too_many_channels',
  'too_many_subscriptions',
];

/** A refusal: what it says, and what it means for the connection. */
export interface Refusal {
  error: Omit<ErrorMessage, 'type'>;
  parting: Parting;
  /** The channels asked for were refused, all of them. */
  isAboutChannels: boolean;
}

/** Sends JSON, with the token if there is one. Rejects as `fetch` does. */
export function post(around: Surroundings, path: string, body: unknown, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  if (around.token !== undefined) headers.Authorization = `Bearer ${around.token}`;
  const { fetch, httpUrl } = around.settings;
  return fetch!(`${httpUrl}${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    signal,
    cache: 'no-store',
  });
}

/** Reads an answer that is no success. */
export async function refusal(response: Response): Promise<Refusal> {
  const { status } = response;
  const said = (await response.json().catch(() => undefined)) as { error?: Partial<ErrorMessage> } | undefined;
  const error = said?.error ?? {};
  const code = typeof error.code === 'string' ? error.code : '';
  const message = typeof error.message === 'string' ? error.message : `answered with status ${status}`;
  const seconds = Number(response.headers.get('Retry-After'));
  const told = typeof error.retryAfterMs === 'number' ? error.retryAfterMs : seconds * 1000;
  const retryAfterMs = told > 0 ? told : undefined;
  const isAboutChannels = ABOUT_CHANNELS.includes(code);
  return {
    error: { code: code || 'unavailable', message, ...(retryAfterMs !== undefined && { retryAfterMs }) },
    parting: {
      reason: code ? `${code}: ${message}` : message,
      comeBack: isAboutChannels ? 'soon' : comeBackAfter(status),
      code: status,
      retryAfterMs,
      isUnauthorized: code === 'auth_failed',
      // no word of odin's: something else answers here
      isUseless: comeBackAfter(status) === 'never' && (code === '' || code === 'not_found'),
    },
    isAboutChannels,
  };
}

/** Why a request came to nothing, as an end: it failed, or its answer cannot be read. */
export const failed = (error: unknown): Parting =>
  error instanceof SyntaxError
    ? { reason: `not readable: ${error.message}`, comeBack: 'later' }
    : { reason: String(error), comeBack: 'soon' };

/** Publishes, and tells what became of it as a WebSocket would. An answer that is lost tells nothing. */
export async function publish(
  around: Surroundings,
  request: ClientMessage & { type: 'publish' },
  signal: AbortSignal,
  tell: (message: ServerMessage) => void,
): Promise<void> {
  const id = request.id!;
  try {
    const path = `/v1/channels/${encodeURIComponent(request.channel)}/publish`;
    const response = await post(around, path, request.data, signal);
    if (response.ok) tell({ ...(checkMessage(await response.json()) as object), id } as ServerMessage);
    else tell({ type: 'error', ...(await refusal(response)).error, id });
  } catch {
    // nobody knows whether it has arrived
    tell({ type: 'error', id, code: 'unavailable', message: 'no answer' });
  }
}

/** Entries as they are asked for: each with the position of now. */
export const entriesOf = (message: ClientMessage & { type: 'subscribe' }): SubscribeEntry[] =>
  message.channels.map((entry) => (typeof entry === 'string' ? { channel: entry } : entry));

/** The first message of a connection that has none. */
export const greeting = (): ServerMessage => ({
  type: 'connection:status',
  status: 'connected',
  connectionId: '',
  heartbeatMs: 0,
  connectedClients: -1,
  maxMessageBytes: 65_536,
});
