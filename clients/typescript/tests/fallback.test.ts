import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cursor, fakeNetwork, FakeSocket, settle, update, type Request } from './fakes.js';
import { begun, failSockets, hello, made, onEvents, path } from './fallbacks.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('after three failed WebSockets it takes events, and after three of those polls, and begins again', async () => {
  const { odin, next, requests } = await made();
  await failSockets(3);
  expect(FakeSocket.all).toHaveLength(3);
  for (const way of ['events', 'events', 'events', 'poll', 'poll', 'poll']) {
    while (requests.length === 0) await vi.advanceTimersByTimeAsync(100);
    await next(path(way)).fail();
  }
  expect(FakeSocket.all, 'if nothing works, the way is not to blame').toHaveLength(4);
  expect(odin.state.status).toBe('connecting');
});

test('a WebSocket that said hello once was not in vain', async () => {
  const { requests } = await made();
  for (let number = 0; number < 5; number += 1) {
    const socket = FakeSocket.last;
    if (number === 2) await socket.hello();
    await failSockets(1);
    while (number < 4 && FakeSocket.last === socket) await vi.advanceTimersByTimeAsync(100);
  }
  expect(requests).toEqual([]);
});

test('without network no failure is counted', async () => {
  const network = fakeNetwork();
  const { requests } = await made({ network });
  for (let number = 0; number < 4; number += 1) {
    await network.tell('offline');
    await FakeSocket.last.end(1006);
    await network.tell('online');
  }
  expect(requests).toEqual([]);
});

test('with nothing to ask for there is no fallback', async () => {
  const { sub, requests } = await made();
  sub.unsubscribe();
  await failSockets(5);
  expect(requests).toEqual([]);
});

test('a way that is not offered is not tried again', async () => {
  const { next, requests } = await made();
  await failSockets(3);
  const body = { error: { code: 'not_found', message: 'there is nothing at this path' } };
  await next(path('events')).answer(404, body);
  await next(path('poll')).answer(404, body);
  expect(FakeSocket.all).toHaveLength(4);
  await failSockets(10);
  expect(requests).toEqual([]);
});

test('a page that may not connect is told so, which a WebSocket cannot', async () => {
  const { odin, next } = await made();
  await failSockets(3);
  await next(path('events')).answer(403, { error: { code: 'origin_not_allowed', message: 'not from here' } });
  expect(odin.state).toEqual({
    status: 'closed',
    code: 403,
    reason: 'origin_not_allowed: not from here',
    willReturn: false,
  });
});

test('keeps the wait that an HTTP answer asks for', async () => {
  const { odin, next } = await made({ transports: ['events'] });
  const error = { code: 'try_again_later', message: 'no room', retryAfterMs: 9_000 };
  await next(path('events')).answer(503, { error });
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 9_001 + 8_000, code: 503 });
  odin.reconnect();
  expect(odin.state, 'a wait that was asked for is kept').toMatchObject({ retryAt: Date.now() + 9_001 });
  await vi.advanceTimersByTimeAsync(9_001);
  await next(path('events')).answer(429, '', { 'Retry-After': '3' });
  expect(odin.state).toMatchObject({ retryAt: Date.now() + 3_001 + 16_000 });
});

describe('publishing on a fallback', () => {
  const publish = async (answer: (request: Request) => Promise<void>) => {
    const { odin, next } = await onEvents({ token: () => 't1' });
    const outcome = odin.publish('chat:lobby', { text: 'hello' }).catch((error: { code: string }) => error.code);
    await settle();
    const request = next('/v1/channels');
    expect(request).toMatchObject({ path: '/v1/channels/chat%3Alobby/publish', token: 'Bearer t1' });
    expect(request.body).toEqual({ text: 'hello' });
    await answer(request);
    return outcome;
  };

  test('is a request of its own', async () => {
    const published = { type: 'published', channel: 'chat:lobby', seq: 9, epoch: 'epoch001' };
    expect(await publish((request) => request.answer(200, published))).toMatchObject({ seq: 9 });
    const error = { code: 'forbidden', message: 'no' };
    expect(await publish((request) => request.answer(403, { error }))).toBe('forbidden');
    expect(await publish((request) => request.answer(502, 'bad gateway'))).toBe('outcome_unknown');
    expect(await publish((request) => request.fail())).toBe('outcome_unknown');
  });
});

describe('the way back to WebSocket', () => {
  const onFallback = async () => {
    const all = await made();
    await failSockets(3);
    const request = all.next(path('events'));
    const stream = await request.stream();
    await stream.event(hello);
    await stream.event(begun('trades'));
    await stream.event(update('trades', 0, 5));
    return { ...all, request, stream };
  };

  test('is tried after 10 s and then less and less often, at most every 5 minutes', async () => {
    const { stream, odin } = await onFallback();
    const beat = setInterval(() => void stream.comment(), 10_000);
    const waits: number[] = [];
    for (let probe = 0; probe < 7; probe += 1) {
      const [before, from] = [FakeSocket.all.length, Date.now()];
      while (FakeSocket.all.length === before) await vi.advanceTimersByTimeAsync(1_000);
      waits.push(Date.now() - from);
      await FakeSocket.last.end(1006);
      expect(odin.state).toMatchObject({ status: 'fallback', transport: 'events' });
    }
    clearInterval(beat);
    expect(waits).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  });

  test('is taken without a gap: the old stream serves until everything is answered', async () => {
    const { stream, odin, request, seen, heard } = await onFallback();
    await vi.advanceTimersByTimeAsync(10_000);
    const socket = await FakeSocket.last.hello();
    await stream.event(update('trades', 5, 6));
    expect(odin.state).toMatchObject({ status: 'fallback' });
    expect(await socket.confirm()).toEqual([{ channel: 'trades', since: cursor(5) }]);
    expect(odin.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(request.signal.aborted).toBe(true);
    await socket.say(update('trades', 5, 6), update('trades', 6, 7));
    expect(seen).toEqual([5, 6, 7]);
    expect(heard.of('gap')).toEqual([]);
    await vi.advanceTimersByTimeAsync(30_000);
    await socket.end(1006);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(FakeSocket.last, 'and is the first to be tried again').not.toBe(socket);
  });

  test('does not hold up another wish', async () => {
    const { odin, next } = await onFallback();
    await vi.advanceTimersByTimeAsync(10_000);
    const probe = FakeSocket.last;
    odin.subscribe('price:BTC');
    await vi.advanceTimersByTimeAsync(100);
    expect(probe.closedWith).toBe(1000);
    expect(next(path('events')).body.channels).toEqual([{ channel: 'trades', since: cursor(5) }, 'price:BTC']);
  });

  test('is tried soon when the network has changed', async () => {
    const network = fakeNetwork();
    const { next } = await made({ network });
    await failSockets(3);
    const stream = await next(path('events')).stream();
    await stream.event(hello);
    await stream.event(begun('trades'));
    for (let probe = 0; probe < 3; probe += 1) {
      await vi.advanceTimersByTimeAsync(40_000);
      await stream.comment();
      await FakeSocket.last.end(1006);
    }
    const before = FakeSocket.all.length;
    await network.tell('online');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.all.length).toBe(before + 1);
  });
});
