import { expect, test } from 'vitest';
import { isChannel, isPattern, patternOf } from '../src/channel.js';
import { comeBack } from '../src/close.js';
import { json, loadMsgpack } from '../src/codec.js';
import { parseCursor } from '../src/cursor.js';
import { mayRetry } from '../src/errors.js';
import type { ClientMessage, GapReason, ResumeReason, StaleReason, SystemState, ErrorCode } from '../src/message.js';
import type { Price } from '../src/payloads.js';
import { createPositions } from '../src/positions.js';
import type { ServerMessage } from '../src/message.js';
import { vectors } from './vectors.js';

interface Message {
  name: string;
  json: Record<string, unknown>;
  msgpack: string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

test.each(vectors<Message>('client_messages.json'))(
  'writes "$name" in both codecs',
  async ({ name, json: value, msgpack }) => {
    const message = value as unknown as ClientMessage;
    expect(JSON.parse(json.encode(message) as string)).toEqual(value);
    const codec = await loadMsgpack();
    const bytes = codec.encode(message) as Uint8Array<ArrayBuffer>;
    // JavaScript has one kind of number: integers beyond 2^53 and 1.0 are not what they were
    if (name !== 'publish numbers') expect(hex(bytes)).toBe(msgpack);
    expect(codec.decode(bytes)).toEqual(value);
  },
);

test.each(vectors<Message>('server_messages.json'))(
  'reads "$name" in both codecs',
  async ({ json: value, msgpack }) => {
    expect(json.decode(JSON.stringify(value))).toEqual(value);
    const codec = await loadMsgpack();
    const bytes = new Uint8Array(Buffer.from(msgpack, 'hex')).buffer;
    expect(codec.decode(bytes)).toEqual(value);
  },
);

test('an update carries the payload that its type says', () => {
  const { json: update } = vectors<Message>('server_messages.json').find(({ name }) => name === 'update')!;
  const payload = update.data as Price;
  const members: Record<keyof Price, string> = {
    type: 'string',
    tokenId: 'string',
    price: 'number',
    volume24h: 'number',
    priceChange24h: 'number',
    timestamp: 'number',
    source: 'string',
    nonce: 'string',
  };
  expect(Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, typeof value]))).toEqual(members);
});

interface Channel {
  text: string;
  valid: boolean;
  pattern?: boolean;
  covers?: string[];
  coversNot?: string[];
}

test.each(vectors<Channel>('channels.json'))('knows whether $text is a channel', (channel) => {
  const { text, valid, pattern, covers = [], coversNot = [] } = channel;
  expect(isChannel(text)).toBe(valid);
  if (!valid) return;
  expect(isPattern(text)).toBe(pattern);
  for (const name of covers) expect(patternOf(name)).toBe(text);
  for (const name of coversNot) expect(patternOf(name)).not.toBe(text);
});

test.each(vectors<{ text: string; valid: boolean; epoch?: string; seq?: string }>('cursors.json'))(
  'knows whether $text is a cursor of version 1',
  ({ text, valid, epoch, seq }) => {
    expect(parseCursor(text)).toEqual(valid ? { epoch, seq: Number(seq) } : undefined);
  },
);

test.each(vectors<{ code: number; reconnect: string }>('close_codes.json'))(
  'comes back after $code as the table says: $reconnect',
  ({ code, reconnect }) => expect(comeBack(code)).toBe(reconnect),
);

test('comes back after other codes by their range', () => {
  for (const code of [1005, 1006]) expect(comeBack(code)).toBe('soon');
  for (const code of [1004, 1010, 1014, 1015, 3000, 3999, 4005, 4399]) expect(comeBack(code)).toBe('later');
  for (const code of [4400, 4500, 4999]) expect(comeBack(code)).toBe('never');
});

const ERRORS: Record<ErrorCode, true> = {
  invalid_message: true,
  unknown_type: true,
  message_too_big: true,
  invalid_channel: true,
  unknown_channel: true,
  unsupported: true,
  auth_required: true,
  auth_failed: true,
  auth_unavailable: true,
  forbidden: true,
  too_many_channels: true,
  too_many_subscriptions: true,
  too_many_connections: true,
  too_wide: true,
  rate_limited: true,
  invalid_payload: true,
  unavailable: true,
  internal: true,
};

test('has every error code, and repeats what may be repeated', () => {
  const codes = vectors<{ code: string; retry: boolean }>('error_codes.json');
  expect(codes.map(({ code }) => code).sort()).toEqual(Object.keys(ERRORS).sort());
  for (const { code, retry } of codes) expect(mayRetry(code), code).toBe(retry);
});

const REASONS: Record<string, true> = {
  invalid_cursor: true,
  epoch_changed: true,
  rolled_back: true,
  cursor_too_old: true,
  replay_limit: true,
  unsupported: true,
  retention: true,
  removed: true,
  invalid: true,
  bus_lost: true,
  unverified: true,
  feed_silent: true,
  draining: true,
  token_expiring: true,
  notice: true,
} satisfies Record<ResumeReason | GapReason | StaleReason | SystemState, true>;

test('has every reason', () => {
  const reasons = new Set(vectors<{ name: string }>('reasons.json').map(({ name }) => name));
  expect([...reasons].sort()).toEqual(Object.keys(REASONS).sort());
});

interface Chain {
  name: string;
  messages: { expect: string; message: ServerMessage }[];
}

test.each(vectors<Chain>('chains.json'))('judges "$name" as the protocol says', ({ messages }) => {
  const positions = createPositions();
  const judge = (message: ServerMessage): string => {
    switch (message.type) {
      case 'subscribed':
        positions.begin(message);
        return 'begin';
      case 'gap':
        expect(positions.gap(message.channel, message.key, message.until)).toBe(true);
        return 'gap';
      case 'checkpoint':
        positions.checkpoint(message.cursor, ['price:*']);
        return 'position';
      case 'update': {
        const judged = positions.update(message);
        return typeof judged === 'string' ? judged : 'missing';
      }
      default:
        throw new Error(`unexpected ${message.type}`);
    }
  };
  messages.forEach(({ message, expect: expected }, at) => expect(judge(message), `message ${at}`).toBe(expected));
});
