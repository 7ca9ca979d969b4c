/**
 * How messages are written on a WebSocket, and whether what came is a message at all.
 *
 * Reading is lenient about what is not known and strict about what is used: a member of the wrong type would otherwise
 * become a wrong price. MessagePack is loaded when it is asked for, so that who does not use it does not ship it.
 */

import type { ClientMessage, ServerMessage } from './message.js';

/** One way to write messages. */
export interface Codec {
  /** The sub-protocol. */
  readonly protocol: string;
  encode(message: ClientMessage): string | Uint8Array<ArrayBuffer>;
  /** Throws for what is no message. */
  decode(data: unknown): ServerMessage;
}

export const json: Codec = {
  protocol: 'odin.v1.json',
  encode: (message) => JSON.stringify(message),
  decode: (data) => checkMessage(JSON.parse(data as string)),
};

/** Loads MessagePack. Rejects if the package `@msgpack/msgpack` cannot be had. */
export async function loadMsgpack(): Promise<Codec> {
  const { encode, decode } = await import('@msgpack/msgpack');
  return {
    protocol: 'odin.v1.msgpack',
    encode: (message) => encode(message, { ignoreUndefined: true }) as Uint8Array<ArrayBuffer>,
    decode: (data) => checkMessage(decode(data as ArrayBuffer)),
  };
}

/** Bytes of what {@link Codec.encode} gives. */
export const bytesOf = (data: string | Uint8Array): number =>
  typeof data === 'string' ? new TextEncoder().encode(data).length : data.length;

/** Members that are used, of each message: s string, n number, b boolean; a question mark where it may be absent. */
const MEMBERS: Record<string, string> = {
  update: 'channel:s seq:n ts:n epoch:s key?:s prev?:n snapshot?:b',
  'connection:status': 'connectionId:s heartbeatMs:n connectedClients:n maxMessageBytes:n',
  subscribed: 'channel:s mode:s recovered:b reason?:s cursor?:s',
  unsubscribed: 'channel:s',
  gap: 'channel:s key?:s after:n until:n reason:s',
  stale: 'channel?:s reason?:s since?:n',
  live: 'channel?:s',
  checkpoint: 'cursor:s',
  'system:status': 'status:s reconnectInMs?:n expiresInMs?:n message?:s',
  authenticated: 'sub:s expiresAt?:n',
  published: 'channel:s seq:n epoch:s',
  error: 'code:s message:s channel?:s limit?:n retryAfterMs?:n',
};

type Check = (message: Record<string, unknown>) => boolean;

const TYPES: Record<string, string> = { s: 'string', n: 'number', b: 'boolean' };

const CHECKS = new Map<unknown, Check[]>(
  Object.entries(MEMBERS).map(([type, members]) => [type, members.split(' ').map(check)]),
);

function check(member: string): Check {
  const [, name, optional, letter] = /^(\w+)(\??):(.)$/.exec(member) as unknown as [string, string, string, string];
  const type = TYPES[letter];
  return (message) => {
    const value = message[name];
    return typeof value === type || (optional !== '' && value == null);
  };
}

/** Gives back what is a message. A type that is not known is one; throws for what is none. */
export function checkMessage(value: unknown): ServerMessage {
  if (typeof value !== 'object' || value === null) throw new SyntaxError('a message that is no object');
  const message = value as Record<string, unknown>;
  if (typeof message.type !== 'string') throw new SyntaxError('a message without a type');
  const checks = CHECKS.get(message.type);
  if (checks && !checks.every((holds) => holds(message))) throw new SyntaxError(`a malformed ${message.type}`);
  return value as ServerMessage;
}
