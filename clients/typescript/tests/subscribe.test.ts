import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { client, cursor, FakeSocket, settle, update } from './fakes.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function connected(options = {}) {
  const made = await client(options);
  const socket = await FakeSocket.last.hello();
  return { ...made, socket };
}

test('offers the sub-protocol and nothing else, and says when it is connected', async () => {
  const { odin, heard, socket } = await connected();
  expect(socket.url).toBe('wss://odin.example/ws');
  expect(socket.protocols).toEqual(['odin.v1.json']);
  expect(heard.states).toEqual([
    { status: 'connecting', attempt: 1 },
    {
      ...{ status: 'connected', transport: 'websocket', connectionId: 'c0', since: Date.now(), clients: 7 },
      ...{ server: undefined, epoch: undefined },
    },
  ]);
  expect(odin.state).toBe(heard.states[1]);
});

test('asks for everything at once, and never for what was taken back', async () => {
  const { odin } = await client();
  odin.subscribe('price:BTC');
  odin.subscribe('trades', undefined, { mode: 'all', since: cursor(3) });
  odin.subscribe('price:ETH').unsubscribe();
  const socket = await FakeSocket.last.hello();
  expect(socket.sent).toEqual([
    { type: 'subscribe', id: 1, channels: ['price:BTC', { channel: 'trades', since: cursor(3), mode: 'all' }] },
  ]);
  odin.subscribe('a').unsubscribe();
  await vi.advanceTimersByTimeAsync(100);
  expect(socket.sent).toHaveLength(1);
});

test('gives snapshot and live updates as one stream', async () => {
  const { odin, socket, heard } = await connected();
  const seen: [number, boolean][] = [];
  const sub = odin.subscribe('price:BTC', ({ seq, snapshot }) => seen.push([seq, snapshot]));
  await settle();
  expect([sub.status, sub.mode, sub.cursor]).toEqual(['pending', undefined, undefined]);
  await socket.confirm();
  await socket.say(update('price:BTC', undefined, 5, { snapshot: true }), update('price:BTC', 5, 7));
  expect(seen).toEqual([
    [5, true],
    [7, false],
  ]);
  expect([sub.status, sub.mode, sub.cursor]).toEqual(['active', 'all', cursor(7)]);
  expect(heard.of('begin')).toEqual([{ channel: 'price:BTC', mode: 'all', recovered: false, anew: false }]);
  expect(heard.of('resume')).toEqual([]);
  expect(heard.of('update')).toHaveLength(2);
});

test('drops what came before, and tells what is missing', async () => {
  const { odin, socket, heard } = await connected();
  const seen: number[] = [];
  const gaps: unknown[] = [];
  const sub = odin.subscribe('trades', ({ seq }) => seen.push(seq));
  sub.on('gap', (gap) => gaps.push(gap));
  await settle();
  await socket.confirm();
  await socket.say(update('trades', 0, 5), update('trades', 0, 5), update('trades', 7, 9));
  expect(seen).toEqual([5, 9]);
  await socket.say(
    { type: 'gap', channel: 'trades', after: 9, until: 12, reason: 'retention' },
    update('trades', 12, 13),
  );
  await socket.say({ type: 'gap', channel: 'elsewhere', after: 9, until: 12, reason: 'retention' });
  expect(seen).toEqual([5, 9, 13]);
  expect(gaps).toEqual([
    { channel: 'trades', after: 5, until: 7, reason: 'unannounced' },
    { channel: 'trades', after: 9, until: 12, reason: 'retention' },
  ]);
  expect(heard.of('gap')).toEqual(gaps);
  expect(odin.stats).toMatchObject({ connects: 1, messages: 8, updates: 3, overlaps: 1, gaps: 2 });
});

test('subscriptions of one channel share one on the wire, and the second begins with the last values', async () => {
  const { odin, socket } = await connected();
  const first = odin.subscribe('price:*');
  await settle();
  await socket.confirm();
  await socket.say(update('price:BTC', 0, 5), update('price:ETH', 0, 6), update('price:BTC', 5, 7));
  const seen: [string, number, boolean][] = [];
  const second = odin.subscribe('price:*', ({ channel, seq, snapshot }) => seen.push([channel, seq, snapshot]));
  expect(seen, 'never from within the call').toEqual([]);
  await settle();
  expect(seen).toEqual([
    ['price:BTC', 7, true],
    ['price:ETH', 6, true],
  ]);
  await socket.say(update('price:BTC', 7, 8));
  expect(seen.at(-1)).toEqual(['price:BTC', 8, false]);
  first.unsubscribe();
  await settle();
  expect(socket.sent).toEqual([]);
  second.unsubscribe();
  second.unsubscribe();
  await vi.advanceTimersByTimeAsync(20);
  expect(socket.sent).toEqual([{ type: 'unsubscribe', id: 2, channels: ['price:*'] }]);
});

test('a channel under its pattern is told to both, and begins with the value that is known', async () => {
  const { odin, socket } = await connected();
  const [wide, exact]: number[][] = [[], []];
  odin.subscribe('price:*', ({ seq }) => wide!.push(seq));
  await settle();
  await socket.confirm();
  await socket.say(update('price:BTC', 0, 5));
  odin.subscribe('price:BTC', ({ seq }) => exact!.push(seq));
  await vi.advanceTimersByTimeAsync(20);
  await socket.say(update('price:BTC', 5, 6));
  expect(exact, 'not confirmed yet').toEqual([]);
  await socket.confirm();
  expect(exact).toEqual([6]);
  await socket.say(update('price:BTC', 6, 7));
  expect(wide).toEqual([5, 6, 7]);
  expect(exact).toEqual([6, 7]);
});

test('options that contradict those of the same channel are refused, as are names outside the grammar', async () => {
  const { odin } = await connected();
  const code = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return undefined;
  };
  odin.subscribe('trades', undefined, { mode: 'all', filter: { a: 1 } });
  expect(code(() => odin.subscribe('trades'))).toBeUndefined();
  expect(code(() => odin.subscribe('trades', undefined, { mode: 'all', filter: { a: 1 } }))).toBeUndefined();
  for (const options of [{ mode: 'latest' }, { since: cursor(1) }, { filter: 1 }, { every: 5 }] as const) {
    expect(code(() => odin.subscribe('trades', undefined, options))).toBe('invalid_argument');
  }
  for (const name of ['', 'price:>', 'a b', 'price:*:x', 7 as never, undefined as never]) {
    expect(code(() => odin.subscribe(name as string))).toBe('invalid_argument');
  }
  expect(code(() => odin.subscribe('a', undefined, { since: 'x'.repeat(65) }))).toBe('invalid_argument');
  odin.close();
  expect(code(() => odin.subscribe('a'))).toBe('closed');
});

test('a refusal ends the subscription, and one for now is tried again', async () => {
  const { odin, socket, heard } = await connected();
  const forbidden = odin.subscribe('trades');
  const later = odin.subscribe('price:BTC');
  const ends: unknown[] = [];
  forbidden.on('end', (end) => ends.push(end));
  await settle();
  const id = socket.took('subscribe')[0]!.id!;
  await socket.say(
    { type: 'error', id, code: 'auth_required', message: 'who are you', channel: 'trades' },
    { type: 'error', id, code: 'unavailable', message: 'not now', channel: 'price:BTC', retryAfterMs: 2_000 },
  );
  expect(forbidden.status).toBe('ended');
  expect(later.status).toBe('pending');
  expect(ends).toMatchObject([{ channel: 'trades', error: { code: 'auth_required' } }]);
  expect(heard.of('error')).toMatchObject([
    { code: 'auth_required', channel: 'trades' },
    { code: 'unavailable', channel: 'price:BTC', retryAfterMs: 2_000, retryInMs: 2_501 },
  ]);
  await vi.advanceTimersByTimeAsync(2_500);
  expect(socket.sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(await socket.confirm()).toEqual([{ channel: 'price:BTC' }]);
  expect(later.status).toBe('active');
});

test('a refused list is about all of its channels', async () => {
  const { odin, socket } = await connected();
  const subs = ['a', 'b'].map((channel) => odin.subscribe(channel));
  await settle();
  const id = socket.took('subscribe')[0]!.id!;
  await socket.say({ type: 'error', id, code: 'rate_limited', message: 'slowly', retryAfterMs: 1_000 });
  await vi.advanceTimersByTimeAsync(1_521);
  expect(await socket.confirm()).toHaveLength(2);
  expect(subs.map((sub) => sub.status)).toEqual(['active', 'active']);
});

test('a subscription that the gateway ends says why, and is not asked for again', async () => {
  const { odin, socket, heard } = await connected();
  const sub = odin.subscribe('trades');
  await settle();
  await socket.confirm();
  await socket.say(
    { type: 'error', code: 'forbidden', message: 'no more', channel: 'trades' },
    { type: 'unsubscribed', channel: 'trades' },
  );
  expect(sub.status).toBe('ended');
  expect(heard.of('end')).toMatchObject([{ channel: 'trades', error: { code: 'forbidden' } }]);
  await socket.end(1012);
  await vi.advanceTimersByTimeAsync(1_000);
  await FakeSocket.last.hello();
  expect(FakeSocket.last.sent).toEqual([]);
});

test('an answer to an earlier request begins nothing', async () => {
  const { odin, socket, heard } = await connected();
  const sub = odin.subscribe('a');
  await settle();
  await socket.say({ type: 'subscribed', id: 77, channel: 'a', mode: 'all', recovered: false });
  await socket.say({ type: 'subscribed', channel: 'a', mode: 'all', recovered: false });
  expect(sub.status).toBe('pending');
  await socket.confirm();
  await socket.say({ type: 'subscribed', id: 1, channel: 'a', mode: 'all', recovered: false });
  expect(heard.of('begin')).toHaveLength(1);
});

test('many subscriptions go in few messages, and no message is too large', async () => {
  const { odin } = await client();
  for (let number = 0; number < 450; number += 1) odin.subscribe(`price:T${number}`);
  const socket = await FakeSocket.last.hello({ maxMessageBytes: 4_096 });
  const messages = socket.took('subscribe');
  expect(messages.flatMap(({ channels }) => channels)).toHaveLength(450);
  for (const message of messages) expect(JSON.stringify(message).length).toBeLessThan(4_096);
});

test('hostile: however fast an application changes its mind, the gateway hears little of it', async () => {
  const { odin, socket } = await connected();
  for (let number = 0; number < 500; number += 1) {
    const sub = odin.subscribe(`price:T${number}`);
    await vi.advanceTimersByTimeAsync(1);
    if (number % 2) sub.unsubscribe();
  }
  expect(socket.sent.length).toBeLessThanOrEqual((2 * 500) / 20 + 2);
});

test('an abort ends the subscription', async () => {
  const { odin } = await connected();
  const abort = new AbortController();
  const sub = odin.subscribe('a', undefined, { signal: abort.signal });
  abort.abort();
  expect(sub.status).toBe('ended');
  expect(odin.subscribe('a', undefined, { signal: abort.signal }).status).toBe('ended');
});

test('an iterator gives updates until the subscription ends', async () => {
  const { odin, socket } = await connected();
  const sub = odin.subscribe('trades');
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { seq } of sub) seen.push(seq);
    return 'over';
  })();
  await settle();
  await socket.confirm();
  await socket.say(update('trades', 0, 1), update('trades', 1, 2));
  sub.unsubscribe();
  expect(await reading).toBe('over');
  expect(seen).toEqual([1, 2]);
});

test('an iterator that falls behind in mode all ends with an error that all can see', async () => {
  const { odin, socket, heard } = await connected({ iteratorQueue: 2 });
  const sub = odin.subscribe('trades');
  const errors: unknown[] = [];
  sub.on('error', (error) => errors.push(error));
  const iterator = sub[Symbol.asyncIterator]();
  await settle();
  await socket.confirm();
  for (let seq = 1; seq <= 4; seq += 1) await socket.say(update('trades', seq - 1, seq));
  expect((await iterator.next()).value?.seq).toBe(1);
  expect((await iterator.next()).value?.seq).toBe(2);
  await expect(iterator.next()).rejects.toMatchObject({ code: 'overflow' });
  expect(errors).toMatchObject([{ code: 'overflow', channel: 'trades' }]);
  expect(heard.of('error')).toMatchObject([{ code: 'overflow' }]);
  expect(sub.status, 'only the iterator has ended').toBe('active');
});

test('is stale and live as a whole, and channel by channel', async () => {
  const { odin, socket, heard } = await connected();
  const sub = odin.subscribe('price:BTC');
  const wide = odin.subscribe('volume:*');
  expect(sub.stale).toBeUndefined();
  await settle();
  await socket.confirm();
  await socket.say({ type: 'stale', reason: 'bus_lost', since: 5 });
  expect(odin.state).toMatchObject({
    status: 'stale',
    reason: 'bus_lost',
    since: 5,
    connection: { connectionId: 'c0' },
  });
  expect(sub.stale).toEqual({ reason: 'bus_lost', since: 5 });
  await socket.say({ type: 'live' });
  expect(odin.state).toMatchObject({ status: 'connected', connectionId: 'c0' });
  await socket.say({ type: 'stale', channel: 'price:BTC', reason: 'feed_silent', since: 6 });
  expect(odin.state.status).toBe('connected');
  expect(sub.stale).toEqual({ channel: 'price:BTC', reason: 'feed_silent', since: 6 });
  expect(wide.stale).toBeUndefined();
  await socket.say({ type: 'live', channel: 'price:BTC' });
  expect(sub.stale).toBeUndefined();
  expect(heard.events.filter(([name]) => name === 'stale' || name === 'live')).toEqual([
    ['stale', { reason: 'bus_lost', since: 5 }],
    ['live', {}],
    ['stale', { channel: 'price:BTC', reason: 'feed_silent', since: 6 }],
    ['live', { channel: 'price:BTC' }],
  ]);
  await socket.end(1012);
  expect(sub.stale).toEqual({ reason: 'away' });
});

test('hostile: what is not known, not wanted or out of turn changes nothing', async () => {
  const { odin, socket, heard } = await connected();
  await socket.say(
    { type: 'weather' } as never,
    update('price:BTC', 0, 1),
    { type: 'pong', ts: 1 },
    { type: 'unsubscribed', channel: 'a' },
    { type: 'live', channel: 'a' },
    { type: 'checkpoint', cursor: 'x'.repeat(100) },
    { type: 'published', id: 1, channel: 'a', seq: 1, epoch: 'e' },
    { type: 'authenticated', id: 99, sub: 'somebody else' },
  );
  expect(odin.state.status).toBe('connected');
  expect(heard.of('update')).toEqual([]);
  expect(heard.of('end')).toEqual([]);
});

test('hostile: a message that cannot be read ends the connection, and the next one comes later', async () => {
  const { odin, socket } = await connected();
  await socket.raw('{"type":"update","seq":"1"}');
  expect(socket.closedWith).toBe(1000);
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 8_000 });
});

test('closes for good', async () => {
  const { odin, socket, heard } = await connected();
  const sub = odin.subscribe('a');
  const ended = vi.fn();
  sub.on('end', ended);
  await settle();
  odin.close();
  odin.close();
  expect(socket.closedWith).toBe(1000);
  expect(odin.state).toEqual({ status: 'closed', code: 1000, reason: 'closed by the application', willReturn: false });
  expect(heard.states.at(-1)).toBe(odin.state);
  expect(ended).toHaveBeenCalledOnce();
  odin.reconnect();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(FakeSocket.all).toHaveLength(1);
  expect(vi.getTimerCount(), 'nothing is left behind').toBe(0);
});
