import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { client, cursor, FakeSocket, fakeNetwork, settle, update } from './fakes.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Passes time and says after how many milliseconds the next connect came. */
async function untilNext(limitMs = 120_000): Promise<number> {
  const [before, from] = [FakeSocket.all.length, Date.now()];
  while (FakeSocket.all.length === before && Date.now() - from < limitMs) await vi.advanceTimersToNextTimerAsync();
  if (FakeSocket.all.length === before) throw new Error('nobody connects');
  return Date.now() - from;
}

test('comes back to where each subscription was, and the application sees a pause', async () => {
  const { odin, heard } = await client();
  const first = await FakeSocket.last.hello();
  const seen: number[] = [];
  const exact = odin.subscribe('trades', ({ seq }) => seen.push(seq), { mode: 'all' });
  const wide = odin.subscribe('price:*');
  await settle();
  await first.confirm();
  await first.say(update('trades', 0, 5), update('price:BTC', 0, 6), { type: 'checkpoint', cursor: cursor(4) });
  await first.say(update('trades', 5, 8), update('price:BTC', 6, 9));
  await first.end(1012, 'service restart');
  expect(odin.state).toEqual({
    status: 'reconnecting',
    attempt: 1,
    retryAt: Date.now() + 500,
    reason: 'service restart',
    code: 1012,
  });
  expect([exact.status, wide.status, exact.cursor]).toEqual(['pending', 'pending', cursor(8)]);
  expect(await untilNext()).toBe(500);
  const second = await FakeSocket.last.hello();
  expect(await second.confirm()).toEqual([
    { channel: 'trades', since: cursor(8), mode: 'all' },
    { channel: 'price:*', since: cursor(4) },
  ]);
  // the overlap of the pattern, then what was missed
  await second.say(update('price:BTC', 0, 6), update('price:BTC', 6, 9), update('trades', 8, 10));
  expect(seen).toEqual([5, 8, 10]);
  expect(heard.of('update').map((event) => (event as { seq: number }).seq)).toEqual([5, 6, 8, 9, 10]);
  expect(heard.of('resume')).toMatchObject([
    { channel: 'trades', recovered: true, anew: false },
    { channel: 'price:*', recovered: true, anew: false },
  ]);
  expect(heard.of('gap')).toEqual([]);
});

test('says when a subscription could not go on', async () => {
  const { odin, heard } = await client();
  odin.subscribe('trades');
  await FakeSocket.last.hello();
  await FakeSocket.last.confirm({ cursor: cursor(3) });
  await FakeSocket.last.end(1006);
  await untilNext();
  await FakeSocket.last.hello();
  const reason = 'cursor_too_old';
  expect(await FakeSocket.last.confirm({ recovered: false, reason })).toEqual([
    { channel: 'trades', since: cursor(3) },
  ]);
  const event = { channel: 'trades', mode: 'all', recovered: false, reason, anew: true };
  expect(heard.of('resume')).toEqual([event]);
});

test('begins anew when the gateway says so by itself', async () => {
  const { odin, heard } = await client();
  const sub = odin.subscribe('trades');
  const socket = await FakeSocket.last.hello();
  await socket.confirm();
  await socket.say(update('trades', 0, 500));
  await socket.say({ type: 'subscribed', channel: 'trades', mode: 'all', recovered: false, reason: 'epoch_changed' });
  expect(sub.cursor).toBeUndefined();
  await socket.say(update('trades', undefined, 3, { snapshot: true, epoch: 'epoch002' }));
  expect(heard.of('update').map((event) => (event as { seq: number }).seq)).toEqual([500, 3]);
  expect(sub.cursor).toBe('1.epoch002.3.1003');
});

test('waits longer each time, up to the cap, and short again after a good connection', async () => {
  await client();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    await FakeSocket.last.end(1006);
    waits.push(await untilNext());
  }
  expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  await FakeSocket.last.hello();
  await vi.advanceTimersByTimeAsync(29_000);
  await FakeSocket.last.end(1006);
  expect(await untilNext(), 'not long enough to be a good one').toBe(30_000);
  await FakeSocket.last.hello();
  await vi.advanceTimersByTimeAsync(30_000);
  await FakeSocket.last.end(1006);
  expect(await untilNext()).toBe(500);
});

test('draws each wait anew, from nothing to its ceiling', async () => {
  const numbers = [0, 0.25, 0.5];
  const { heard } = await client({ random: () => numbers.shift() ?? 0 });
  const from = Date.now();
  await FakeSocket.last.end(1006);
  await FakeSocket.last.end(1006);
  await untilNext();
  await FakeSocket.last.end(1006);
  const retries = heard.states.flatMap((state) => (state.status === 'reconnecting' ? [state.retryAt! - from] : []));
  expect(retries).toEqual([0, 250, 250 + 1_000]);
});

test.each([
  [1001, 500],
  [1006, 500],
  [4000, 500],
  [4003, 500],
  [1011, 8_000],
  [1013, 8_000],
  [4001, 8_000],
  [4004, 8_000],
  [4123, 8_000],
])('after %i it waits %i ms at most', async (code, ms) => {
  await client();
  await FakeSocket.last.hello();
  await FakeSocket.last.end(code);
  expect(await untilNext()).toBe(ms);
});

test.each([1000, 1002, 1008, 1009, 4401, 4403, 4409, 4429, 4440, 4777])(
  'after %i it does not come back until it is told to',
  async (code) => {
    const { odin, heard } = await client();
    odin.subscribe('a');
    await FakeSocket.last.hello();
    await FakeSocket.last.confirm();
    await FakeSocket.last.end(code, 'go away');
    expect(odin.state).toEqual({ status: 'closed', code, reason: 'go away', willReturn: false });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(FakeSocket.all).toHaveLength(1);
    odin.reconnect();
    expect(odin.state).toEqual({ status: 'connecting', attempt: 1 });
    await FakeSocket.last.hello();
    expect(await FakeSocket.last.confirm()).toEqual([{ channel: 'a' }]);
    expect(heard.states.map(({ status }) => status)).toContain('closed');
  },
);

test('after 4002 it comes back when something is subscribed', async () => {
  const { odin } = await client();
  await FakeSocket.last.hello();
  await FakeSocket.last.end(4002, 'no subscription');
  expect(odin.state).toMatchObject({ status: 'closed', code: 4002, willReturn: 'on_subscribe' });
  await vi.advanceTimersByTimeAsync(600_000);
  expect(FakeSocket.all).toHaveLength(1);
  odin.subscribe('a');
  expect(odin.state.status).toBe('connecting');
  expect(FakeSocket.all).toHaveLength(2);
});

test('gives up on a gateway that does not say hello, and on one that cannot be reached', async () => {
  const { odin } = await client({ connectTimeoutMs: 4_000 });
  await vi.advanceTimersByTimeAsync(4_000);
  expect(FakeSocket.last.closedWith).toBe(1000);
  expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no answer within 4000 ms' });
});

test('a WebSocket that cannot even be made is a failed connect', async () => {
  let made = 0;
  class Refusing {
    constructor() {
      made += 1;
      throw new DOMException('mixed content', 'SecurityError');
    }
  }
  const { odin } = await client({ WebSocket: Refusing as never });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(odin.state.status).toBe('reconnecting');
  expect(made).toBe(2);
});

test('a silent connection is asked, and then left', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello({ heartbeatMs: 1_000 });
  await vi.advanceTimersByTimeAsync(1_500);
  expect(socket.took('ping')).toHaveLength(1);
  await socket.say({ type: 'pong', ts: 1 });
  await vi.advanceTimersByTimeAsync(1_499);
  expect(odin.state.status).toBe('connected');
  await vi.advanceTimersByTimeAsync(501);
  expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no sign of life' });
  expect(socket.closedWith).toBe(1000);
});

test('when told to, it tries at once', async () => {
  const { odin } = await client();
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await FakeSocket.last.end(1006);
    odin.reconnect();
    expect(odin.state).toEqual({ status: 'connecting', attempt: attempt + 2 });
  }
  expect(FakeSocket.all).toHaveLength(6);
  odin.reconnect();
  expect(FakeSocket.all, 'one at a time').toHaveLength(6);
});

describe('draining', () => {
  const drain = async () => {
    const made = await client();
    const seen: number[] = [];
    made.odin.subscribe('trades', ({ seq }) => seen.push(seq));
    const first = await FakeSocket.last.hello();
    await first.confirm();
    await first.say(update('trades', 0, 5));
    await first.say({ type: 'system:status', status: 'draining', reconnectInMs: 30_000 });
    return { ...made, first, seen };
  };

  test('opens the new connection first, at a moment of its own, and leaves the old one when all is there', async () => {
    const { odin, first, seen, heard } = await drain();
    expect(heard.of('system')).toEqual([{ status: 'draining', reconnectInMs: 30_000 }]);
    expect(await untilNext()).toBe(7_500);
    const second = await FakeSocket.last.hello();
    await first.say(update('trades', 5, 6));
    expect(odin.state).toMatchObject({ status: 'connected', connectionId: 'c0' });
    expect(first.isOpen).toBe(true);
    expect(await second.confirm()).toEqual([{ channel: 'trades', since: cursor(5) }]);
    expect(odin.state).toMatchObject({ status: 'connected', connectionId: 'c1' });
    expect(first.isOpen).toBe(false);
    await second.say(update('trades', 5, 6), update('trades', 6, 7));
    expect(seen).toEqual([5, 6, 7]);
    expect(heard.states.map(({ status }) => status)).toEqual(['connecting', 'connected', 'connected']);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(odin.state, 'the old deadline is forgotten').toMatchObject({ connectionId: 'c1' });
  });

  test('what both connections bring comes once, and nothing is missing', async () => {
    const { first, seen, heard } = await drain();
    await untilNext();
    const second = await FakeSocket.last.hello();
    await first.say(update('trades', 5, 6), update('trades', 6, 7));
    const id = second.sent[0]!.id!;
    // the new one is confirmed, and ahead of the old one
    await second.say(update('trades', 5, 6), update('trades', 6, 7), update('trades', 7, 8));
    await first.say(update('trades', 7, 8), update('trades', 8, 9));
    await second.say({ type: 'subscribed', id, channel: 'trades', mode: 'all', recovered: true });
    await second.say(update('trades', 8, 9), update('trades', 9, 10));
    expect(seen).toEqual([5, 6, 7, 8, 9, 10]);
    expect(heard.of('gap')).toEqual([]);
  });

  test('a new connection that fails is tried again, while the old one serves', async () => {
    const { odin, first } = await drain();
    await untilNext();
    await FakeSocket.last.end(1006);
    expect(odin.state).toMatchObject({ status: 'connected', connectionId: 'c0' });
    expect(await untilNext()).toBe(500);
    await FakeSocket.last.end(1013);
    expect(await untilNext()).toBe(16_000);
    expect(first.isOpen).toBe(true);
    await vi.advanceTimersByTimeAsync(8_001);
    expect(first.isOpen, 'the gateway did not keep its word').toBe(false);
    expect(odin.state.status, 'and the new one is all there is').toBe('connecting');
  });

  test('if the old one ends first, the new one is all there is', async () => {
    const { odin, first } = await drain();
    await untilNext();
    await first.end(1012);
    expect(odin.state.status).toBe('connecting');
    await FakeSocket.last.hello();
    expect(odin.state).toMatchObject({ status: 'connected', connectionId: 'c1' });
    expect(await FakeSocket.last.confirm()).toEqual([{ channel: 'trades', since: cursor(5) }]);
  });

  test('an answer that does not come does not keep the old one for ever', async () => {
    const { odin, first } = await drain();
    await untilNext();
    await FakeSocket.last.hello();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(odin.state).toMatchObject({ connectionId: 'c1' });
    expect(first.isOpen).toBe(false);
  });
});

describe('network and screen', () => {
  test('offline makes no attempts, online makes one at once', async () => {
    const network = fakeNetwork();
    const { odin } = await client({ network });
    await FakeSocket.last.hello();
    await network.tell('offline');
    expect(odin.state.status, 'the browser may be wrong').toBe('connected');
    await FakeSocket.last.end(1006);
    expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: null, reason: 'offline' });
    odin.reconnect();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(FakeSocket.all).toHaveLength(1);
    await network.tell('online');
    expect(FakeSocket.all).toHaveLength(2);
    expect(odin.state).toEqual({ status: 'connecting', attempt: 2 });
  });

  test('offline ends a wait, and begins no connection', async () => {
    const network = fakeNetwork();
    const { odin } = await client({ network });
    await FakeSocket.last.end(1006);
    await network.tell('offline');
    expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: null, reason: 'offline' });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(FakeSocket.all).toHaveLength(1);
  });

  test('starts without network and connects when there is one', async () => {
    const network = fakeNetwork();
    await network.tell('offline');
    const { odin } = await client({ network });
    expect(FakeSocket.all).toHaveLength(0);
    expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: null });
    await network.tell('online');
    expect(FakeSocket.all).toHaveLength(1);
  });

  test('a page that is seen again tries at once', async () => {
    const network = fakeNetwork();
    await client({ network });
    for (let attempt = 0; attempt < 6; attempt += 1) await FakeSocket.last.end(1006).then(() => untilNext());
    await FakeSocket.last.end(1006);
    await network.tell('visible');
    expect(FakeSocket.all).toHaveLength(8);
  });

  test('a page that is seen again asks whether the connection is there', async () => {
    const network = fakeNetwork();
    const { odin } = await client({ network });
    const socket = await FakeSocket.last.hello();
    await network.tell('visible');
    expect(socket.took('ping')).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no sign of life' });
  });
});
