import { expect, test } from 'vitest';
import type { Mode, SubscribedMessage, UpdateMessage } from '../src/message.js';
import { createPositions, MAX_CHAINS, type Positions } from '../src/positions.js';

const update = (channel: string, prev: number | undefined, seq: number, more: Partial<UpdateMessage> = {}) =>
  ({
    type: 'update',
    channel,
    seq,
    ...(prev !== undefined && { prev }),
    ts: 1_000 + seq,
    epoch: 'epoch001',
    data: seq,
    ...more,
  }) satisfies UpdateMessage;

const cursor = (seq: number, epoch = 'epoch001') => `1.${epoch}.${seq}.${1_000 + seq}`;

const begin = (positions: Positions, channel: string, mode: Mode, more: Partial<SubscribedMessage> = {}) =>
  positions.begin({ type: 'subscribed', channel, mode, recovered: false, ...more });

function subscribed(channel: string, mode: Mode): Positions {
  const positions = createPositions();
  begin(positions, channel, mode, { cursor: cursor(3) });
  return positions;
}

test('comes back to the last update of an exact channel', () => {
  const positions = subscribed('price:BTC', 'all');
  expect(positions.since('price:BTC')).toBe(cursor(3));
  positions.update(update('price:BTC', 0, 5));
  expect(positions.since('price:BTC')).toBe(cursor(5));
});

test('comes back to a checkpoint that is further than the last update', () => {
  const positions = subscribed('price:BTC', 'all');
  positions.update(update('price:BTC', 0, 5));
  positions.checkpoint(cursor(4), ['price:BTC']);
  expect(positions.since('price:BTC')).toBe(cursor(5));
  positions.checkpoint(cursor(90), ['price:BTC']);
  expect(positions.since('price:BTC')).toBe(cursor(90));
  positions.update(update('price:BTC', 5, 95));
  expect(positions.since('price:BTC')).toBe(cursor(95));
});

test('hands a cursor of an unknown form back as it came', () => {
  const positions = subscribed('price:BTC', 'all');
  positions.update(update('price:BTC', 0, 5));
  positions.checkpoint('2.a-form-of-tomorrow', ['price:BTC']);
  expect(positions.since('price:BTC')).toBe('2.a-form-of-tomorrow');
  begin(positions, 'price:BTC', 'all', { recovered: true });
  positions.update(update('price:BTC', 5, 7));
  expect(positions.since('price:BTC')).toBe(cursor(7));
});

test('asks for the snapshot again until it is known to have come', () => {
  const positions = subscribed('price:*', 'latest');
  positions.update(update('price:BTC', undefined, 2, { snapshot: true }));
  expect(positions.since('price:*'), 'there may be more of it').toBeUndefined();
  positions.checkpoint(cursor(4), ['price:*']);
  expect(positions.since('price:*')).toBe(cursor(4));
  begin(positions, 'price:*', 'latest', { recovered: true, cursor: cursor(4) });
  expect(positions.since('price:*')).toBe(cursor(4));
  const exact = subscribed('price:BTC', 'latest');
  exact.update(update('price:BTC', undefined, 2, { snapshot: true }));
  expect(exact.since('price:BTC')).toBe(cursor(2));
});

test('keeps no position that no gateway takes back', () => {
  const positions = subscribed('price:*', 'all');
  for (const nonsense of ['', '9'.repeat(65)]) {
    positions.checkpoint(nonsense, ['price:*']);
    begin(positions, 'price:*', 'all', { recovered: true, cursor: nonsense });
    expect(positions.since('price:*')).toBe(cursor(3));
  }
});

test.each(['epoch_changed', 'rolled_back'])('does not come back to a stream that is gone: %s', (reason) => {
  const positions = subscribed('price:BTC', 'all');
  begin(positions, 'price:*', 'all', { cursor: cursor(3) });
  positions.update(update('price:BTC', 0, 500));
  // the pattern is named, and means the channel too
  expect(begin(positions, 'price:*', 'all', { reason })).toBe(true);
  expect(positions.since('price:*')).toBeUndefined();
  expect(positions.since('price:BTC')).toBeUndefined();
  expect(positions.update(update('price:BTC', 3, 4))).toBe('deliver');
  expect(positions.since('price:BTC')).toBe(cursor(4));
});

test('says when a subscription that had begun does not go on', () => {
  const positions = createPositions();
  expect(begin(positions, 'trades', 'all')).toBe(false);
  expect(begin(positions, 'trades', 'all', { recovered: true })).toBe(false);
  expect(begin(positions, 'trades', 'all')).toBe(true);
  expect(begin(positions, 'portfolio', 'all', { reason: 'cursor_too_old' }), 'a cursor of another session').toBe(true);
});

test('never comes back to the last update of several chains', () => {
  const positions = subscribed('price:*', 'all');
  positions.update(update('price:BTC', 0, 5));
  positions.update(update('price:ETH', 0, 9));
  expect(positions.since('price:*')).toBe(cursor(3));
  positions.checkpoint(cursor(7), ['price:*']);
  expect(positions.since('price:*')).toBe(cursor(7));
  const keyed = subscribed('signals:all', 'all');
  keyed.update(update('signals:all', 0, 5, { key: 'momentum.BTC' }));
  expect(keyed.since('signals:all')).toBe(cursor(3));
});

test('a checkpoint counts for those that it is for', () => {
  const positions = subscribed('price:*', 'all');
  begin(positions, 'volume:BTC', 'all', { cursor: cursor(50) });
  positions.checkpoint(cursor(60), ['volume:BTC']);
  expect(positions.since('price:*')).toBe(cursor(3));
  expect(positions.since('volume:BTC')).toBe(cursor(60));
});

test('the position after a gap is the next update or checkpoint', () => {
  const positions = subscribed('price:BTC', 'all');
  positions.update(update('price:BTC', 0, 5));
  expect(positions.gap('price:BTC', undefined, 40)).toBe(true);
  expect(positions.gap('volume:BTC', undefined, 40), 'nobody wants that').toBe(false);
  expect(positions.since('price:BTC')).toBe(cursor(5));
  expect(positions.update(update('price:BTC', 9, 30)), 'it was said not to come').toBe('drop');
  positions.update(update('price:BTC', 38, 45));
  expect(positions.since('price:BTC')).toBe(cursor(45));
});

test('drops the second copy of overlapping subscriptions, and keeps what one of them needs', () => {
  const positions = subscribed('price:*', 'latest');
  begin(positions, 'price:BTC', 'all');
  expect(positions.update(update('price:BTC', 0, 5))).toBe('deliver');
  expect(positions.update(update('price:BTC', 0, 5))).toBe('drop');
  positions.update(update('price:ETH', 0, 6));
  positions.end('price:*');
  expect(positions.update(update('price:ETH', 6, 7))).toBe('stray');
  expect(positions.update(update('price:BTC', 5, 8))).toBe('deliver');
  positions.end('price:BTC');
  expect(positions.latest('price:BTC')).toEqual([]);
});

test('a channel is complete if one of its subscriptions is', () => {
  const positions = subscribed('price:*', 'latest');
  positions.update(update('price:BTC', 0, 5));
  expect(positions.update(update('price:BTC', 6, 7))).toBe('merged');
  begin(positions, 'price:BTC', 'all', { recovered: true });
  expect(positions.update(update('price:BTC', 8, 9))).toEqual({ after: 7, until: 8 });
  positions.end('price:BTC');
  expect(positions.update(update('price:BTC', 10, 11))).toBe('merged');
});

test('gives the last values of a channel or pattern', () => {
  const positions = subscribed('price:*', 'latest');
  for (const [channel, seq] of [
    ['price:BTC', 5],
    ['price:ETH', 6],
    ['price:BTC', 7],
  ] as const) {
    positions.update(update(channel, 0, seq));
  }
  expect(positions.latest('price:*').map(({ seq }) => seq)).toEqual([7, 6]);
  expect(positions.latest('price:ETH').map(({ seq }) => seq)).toEqual([6]);
});

test('hostile: refuses updates of channels that are no names, and keys that are too long', () => {
  const positions = subscribed('price:*', 'latest');
  for (const name of ['price:*', 'price', 'price:BTC:USD', '', 'price:\u001b[2J', '__proto__', 'constructor']) {
    expect(positions.update(update(name, 0, 5)), name).toBe('stray');
  }
  expect(positions.update(update('price:BTC', 0, 5, { key: 'k'.repeat(257) }))).toBe('stray');
  expect(positions.update(update('price:BTC', 0, 5, { key: '__proto__' }))).toBe('deliver');
});

test('hostile: never keeps more chains than its limit', () => {
  const positions = subscribed('signals:all', 'all');
  for (let number = 0; number < MAX_CHAINS + 10; number += 1) {
    expect(positions.update(update('signals:all', 0, 5, { key: String(number) }))).toBe('deliver');
  }
  expect(positions.latest('signals:all')).toHaveLength(MAX_CHAINS);
  positions.end('signals:all');
  expect(positions.latest('signals:all')).toEqual([]);
});

/** Numbers that are the same each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('whatever is lost, repeated or mixed up: each is delivered once, in order, and every loss is seen', () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const random = seeded(seed);
    const stored: UpdateMessage[] = [];
    for (let at = 0, seq = 0; at < 40; at += 1) {
      const prev = seq;
      seq += 1 + Math.floor(random() * 5);
      stored.push(update('trades', prev, seq));
    }
    const positions = createPositions();
    begin(positions, 'trades', 'all');
    const [delivered, holes]: [number[], [number, number][]] = [[], []];
    for (let at = 0; at < 60; at += 1) {
      // mostly forwards, now and then anywhere
      const jump = random() < 0.2 ? Math.floor(random() * 40) : Math.min(39, at);
      const message = stored[jump]!;
      const judged = positions.update({ ...message });
      if (judged === 'drop') continue;
      if (typeof judged === 'object') holes.push([judged.after, judged.until]);
      delivered.push(message.seq);
    }
    expect(
      [...delivered].sort((a, b) => a - b),
      `seed ${seed}`,
    ).toEqual(delivered);
    expect(new Set(delivered).size).toBe(delivered.length);
    for (const { seq } of stored) {
      if (seq < delivered[0]! || seq > delivered.at(-1)!) continue;
      const isInHole = holes.some(([after, until]) => after < seq && seq <= until);
      expect(isInHole, `seed ${seed}, sequence ${seq}`).toBe(!delivered.includes(seq));
    }
  }
});
