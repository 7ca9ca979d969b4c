import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
// the client loads them when it needs them; here they have to be there when time stands still
import '../src/events.js';
import '../src/poll.js';
import type { ConnectOptions } from '../src/index.js';
import { client, cursor, fakeFetch, fakeNetwork, FakeSocket, settle, update, type Request } from './fakes.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const hello = {
  type: 'connection:status',
  status: 'connected',
  connectionId: 'e1',
  heartbeatMs: 25_000,
  connectedClients: 3,
  maxMessageBytes: 65_536,
};
const begun = (channel: string, recovered = false) => ({ type: 'subscribed', channel, mode: 'all', recovered });
const path = (name: string) => `/v1/${name}`;

async function made(options: Partial<ConnectOptions> = {}) {
  const http = fakeFetch();
  const all = await client({ transports: ['websocket', 'events', 'poll'], fetch: http.fetch, ...options });
  const seen: number[] = [];
  const sub = all.odin.subscribe('trades', ({ seq }) => seen.push(seq));
  await settle();
  return { ...all, ...http, sub, seen };
}

/** Fails so many WebSockets in a row, and waits for the next one after each but the last. */
async function failSockets(count: number) {
  for (let number = 1; number <= count; number += 1) {
    const before = FakeSocket.all.length;
    await FakeSocket.last.end(1006);
    while (number < count && FakeSocket.all.length === before) await vi.advanceTimersByTimeAsync(100);
  }
}

async function onEvents(options: Partial<ConnectOptions> = {}) {
  const all = await made({ transports: ['events', 'poll'], ...options });
  const request = all.next(path('events'));
  const stream = await request.stream();
  await stream.event(hello);
  await stream.event(begun('trades'));
  return { ...all, request, stream };
}

async function onPoll(options: Partial<ConnectOptions> = {}) {
  const all = await made({ transports: ['poll'], ...options });
  await all.next(path('poll')).answer(200, { cursor: cursor(3), messages: [begun('trades'), update('trades', 0, 3)] });
  await vi.advanceTimersByTimeAsync(100);
  return all;
}

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

describe('events', () => {
  test('bring the same messages', async () => {
    const { odin, heard, request, stream, seen, sub } = await onEvents();
    expect(request).toMatchObject({
      path: '/v1/events',
      token: null,
      body: { type: 'subscribe', channels: ['trades'] },
    });
    expect(odin.state).toMatchObject({ status: 'fallback', transport: 'events', connectionId: 'e1', clients: 3 });
    expect(sub.status).toBe('active');
    await stream.event(update('trades', 0, 5));
    await stream.event(update('trades', 5, 6));
    await stream.event({ type: 'stale', reason: 'bus_lost' });
    expect(odin.state).toMatchObject({ status: 'stale', connection: { transport: 'events' } });
    await stream.event({ type: 'live' });
    expect(seen).toEqual([5, 6]);
    expect(sub.cursor).toBe(cursor(6));
    expect(heard.of('begin')).toHaveLength(1);
  });

  test('that end say whether to come back, and go on where they were', async () => {
    const { odin, stream, next } = await onEvents();
    await stream.event(update('trades', 0, 5));
    await stream.event({ code: 1012, name: 'service_restart', reason: 'service restart' }, 'close');
    expect(odin.state).toMatchObject({ status: 'reconnecting', code: 1012, retryAt: Date.now() + 500 });
    await vi.advanceTimersByTimeAsync(500);
    const again = next(path('events'));
    expect(again.body.channels).toEqual([{ channel: 'trades', since: cursor(5) }]);
    const second = await again.stream();
    await second.event(hello);
    await second.end();
    expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'the stream ended' });
    const { stream: third, odin: other } = await onEvents();
    await third.event({ code: 4440, name: 'revoked', reason: 'access revoked' }, 'close');
    expect(other.state).toMatchObject({ status: 'closed', code: 4440 });
  });

  test('that are silent are dead after two heartbeats', async () => {
    const { odin, stream } = await onEvents();
    for (let number = 0; number < 5; number += 1) {
      await vi.advanceTimersByTimeAsync(49_000);
      await stream.comment();
    }
    expect(odin.state.status).toBe('fallback');
    await vi.advanceTimersByTimeAsync(50_000);
    expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no sign of life' });
  });

  test('are opened anew when something else is wanted, and the old stream serves until then', async () => {
    const { odin, request, stream, seen, next, heard } = await onEvents();
    await stream.event(update('trades', 0, 5));
    odin.subscribe('price:*');
    odin.subscribe('price:BTC');
    await vi.advanceTimersByTimeAsync(100);
    const second = next(path('events'));
    expect(second.body.channels).toEqual([{ channel: 'trades', since: cursor(5) }, 'price:*', 'price:BTC']);
    await stream.event(update('trades', 5, 6));
    expect(request.signal.aborted).toBe(false);
    const other = await second.stream();
    await other.event({ ...hello, connectionId: 'e2' });
    await other.event(begun('trades', true));
    await other.event(begun('price:*'));
    expect(request.signal.aborted).toBe(false);
    await other.event(begun('price:BTC'));
    expect(request.signal.aborted).toBe(true);
    await other.event(update('trades', 5, 6));
    await other.event(update('trades', 6, 7));
    expect(seen).toEqual([5, 6, 7]);
    expect(odin.state).toMatchObject({ status: 'fallback', connectionId: 'e2' });
    expect(heard.states.filter(({ status }) => status === 'reconnecting')).toEqual([]);
  });

  test('a wish that comes while another stream is being opened does not hold that up', async () => {
    const { odin, next } = await onEvents();
    odin.subscribe('price:BTC');
    await vi.advanceTimersByTimeAsync(100);
    const second = await next(path('events')).stream();
    await second.event({ ...hello, connectionId: 'e2' });
    odin.subscribe('price:ETH');
    await second.event(begun('trades', true));
    await second.event(begun('price:BTC'));
    await vi.advanceTimersByTimeAsync(20);
    expect(odin.state).toMatchObject({ connectionId: 'e2' });
    await vi.advanceTimersByTimeAsync(200);
    expect(next(path('events')).body.channels).toEqual(['trades', 'price:BTC', 'price:ETH']);
  });

  test('end when nothing is wanted any more, and begin again with the next wish', async () => {
    const { odin, request, sub, next } = await onEvents();
    sub.unsubscribe();
    await vi.advanceTimersByTimeAsync(100);
    expect(request.signal.aborted).toBe(true);
    expect(odin.state).toMatchObject({ status: 'closed', willReturn: 'on_subscribe' });
    odin.subscribe('price:BTC');
    await settle();
    expect(next(path('events')).body.channels).toEqual(['price:BTC']);
  });

  test('a channel that is refused ends, and one that is refused with all others too', async () => {
    const { odin, next, heard } = await onEvents();
    const other = odin.subscribe('portfolio');
    await vi.advanceTimersByTimeAsync(100);
    const second = await next(path('events')).stream();
    await second.event(hello);
    await second.event({ type: 'error', code: 'auth_required', message: 'who are you', channel: 'portfolio' });
    await second.event(begun('trades', true));
    expect(other.status).toBe('ended');
    expect(heard.of('end')).toMatchObject([{ channel: 'portfolio', error: { code: 'auth_required' } }]);
    const { odin: all, next: nextOfAll } = await made({ transports: ['events'] });
    await nextOfAll(path('events')).answer(404, { error: { code: 'unknown_channel', message: 'no rule' } });
    expect(all.state).toMatchObject({ status: 'reconnecting' });
    await vi.advanceTimersByTimeAsync(500);
    expect(all.state).toMatchObject({ status: 'closed', willReturn: 'on_subscribe' });
  });

  test('sign in by header, and a token that expires opens a second stream first', async () => {
    let count = 0;
    const token = () => `t${(count += 1)}`;
    const { odin, request, stream, next, heard } = await onEvents({ token });
    expect(request.token).toBe('Bearer t1');
    await stream.event({ type: 'authenticated', sub: 'ada', expiresAt: Date.now() + 40_000 });
    expect(heard.of('auth')).toEqual([{ sub: 'ada', expiresAt: Date.now() + 40_000, refresh: false }]);
    await vi.advanceTimersByTimeAsync(30_100);
    const second = next(path('events'));
    expect(second.token).toBe('Bearer t2');
    expect(request.signal.aborted).toBe(false);
    const other = await second.stream();
    await other.event(hello);
    await other.event(begun('trades', true));
    expect(request.signal.aborted).toBe(true);
    const told = { type: 'system:status', status: 'token_expiring', expiresInMs: 60_000 };
    for (let count = 0; count < 5; count += 1) await other.event(told);
    await vi.advanceTimersByTimeAsync(900);
    expect(() => next(path('events')), 'not more than once in a second').toThrow();
    await vi.advanceTimersByTimeAsync(200);
    expect(next(path('events')).token).toBe('Bearer t3');
    expect(odin.state.status).toBe('fallback');
  });

  test('a token that is not accepted is replaced once, and then later', async () => {
    let count = 0;
    const { odin, next } = await made({ transports: ['events'], token: () => `t${(count += 1)}` });
    const error = { code: 'auth_failed', message: 'invalid' };
    await next(path('events')).answer(401, { error });
    expect(odin.state).toMatchObject({ status: 'reconnecting', code: 401, retryAt: Date.now() + 500 });
    await vi.advanceTimersByTimeAsync(500);
    const second = next(path('events'));
    expect(second.token).toBe('Bearer t2');
    await second.answer(401, { error });
    expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 16_000 });
  });

  test('a fetch that turns out not to stream leaves polls', async () => {
    const paths: string[] = [];
    const fetch = (url: string) => {
      paths.push(new URL(url).pathname);
      return Promise.resolve(new Response(null, { status: 200 }));
    };
    await made({ transports: ['events', 'poll'], fetch: fetch as never });
    expect(paths).toEqual(['/v1/events', '/v1/poll']);
  });

  test('hostile: an event that is no message ends the stream', async () => {
    const { odin, stream } = await onEvents();
    await stream.event({ type: 'update', seq: 'x' });
    expect(odin.state.status).toBe('reconnecting');
  });

  test('of more than 500 channels are several, and a checkpoint is for its own', async () => {
    const { odin, next, sub } = await made({ transports: ['events'] });
    const many = Array.from({ length: 600 }, (_, number) => odin.subscribe(`many:${number}`));
    await vi.advanceTimersByTimeAsync(200);
    next(path('events')).fail();
    await vi.advanceTimersByTimeAsync(1_000);
    const [first, second] = [next(path('events')), next(path('events'))];
    expect([first, second].map(({ body }) => body.channels.length)).toEqual([500, 101]);
    const streams = [await first.stream(), await second.stream()];
    for (const [at, { body }] of [first, second].entries()) {
      await streams[at]!.event({ ...hello, connectionId: `e${at}` });
      for (const channel of body.channels) await streams[at]!.event(begun(channel as string));
    }
    expect(odin.state).toMatchObject({ status: 'fallback', connectionId: 'e0' });
    expect(many.every(({ status }) => status === 'active')).toBe(true);
    await streams[0]!.event({ type: 'checkpoint', cursor: cursor(7) });
    expect([sub.cursor, many[0]!.cursor, many[599]!.cursor]).toEqual([cursor(7), cursor(7), undefined]);
    await streams[1]!.end();
    expect(odin.state.status, 'one that ends ends all').toBe('reconnecting');
    expect(first.signal.aborted).toBe(true);
  });

  test('draining is answered with another stream', async () => {
    const { odin, stream, request, next } = await onEvents();
    await stream.event({ type: 'system:status', status: 'draining', reconnectInMs: 10_000 });
    await vi.advanceTimersByTimeAsync(5_000);
    const other = await next(path('events')).stream();
    await other.event({ ...hello, connectionId: 'e2' });
    await other.event(begun('trades', true));
    await vi.advanceTimersByTimeAsync(20);
    expect(odin.state).toMatchObject({ connectionId: 'e2' });
    expect(request.signal.aborted).toBe(true);
  });
});

describe('polls', () => {
  test('bring the same messages, each with the cursor of the answer before', async () => {
    const { odin, next, seen, sub, heard } = await onPoll();
    expect(odin.state).toMatchObject({ status: 'fallback', transport: 'poll', connectionId: '', clients: undefined });
    const second = next(path('poll'));
    expect(second.path).toBe('/v1/poll?wait=25');
    expect(second.body).toEqual({ type: 'subscribe', channels: [{ channel: 'trades', since: cursor(3) }] });
    await second.answer(200, { cursor: cursor(7), messages: [update('trades', 3, 7)] });
    await vi.advanceTimersByTimeAsync(100);
    const third = next(path('poll'));
    expect(third.body.channels).toEqual([{ channel: 'trades', since: cursor(7) }]);
    await third.answer(200, { cursor: cursor(9), messages: [] });
    expect(sub.cursor, 'the better one').toBe(cursor(9));
    expect(seen).toEqual([3, 7]);
    expect(heard.of('begin')).toHaveLength(1);
  });

  test('the first answer is not waited for', async () => {
    const { next } = await made({ transports: ['poll'] });
    expect(next(path('poll')).path).toBe('/v1/poll?wait=0');
  });

  test('what goes on where it was has begun all the same', async () => {
    const { odin, next, seen, heard } = await onPoll();
    await next(path('poll')).fail();
    expect(odin.state.status, 'once is nothing').toBe('fallback');
    await vi.advanceTimersByTimeAsync(100);
    await next(path('poll')).fail();
    expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'TypeError: fetch failed' });
    await vi.advanceTimersByTimeAsync(500);
    const again = next(path('poll'));
    expect(again.body.channels).toEqual([{ channel: 'trades', since: cursor(3) }]);
    await again.answer(200, { cursor: cursor(8), messages: [update('trades', 3, 8)] });
    expect(seen).toEqual([3, 8]);
    expect(heard.of('resume')).toEqual([{ channel: 'trades', mode: 'all', recovered: true, anew: false }]);
  });

  test('a change of what is wanted makes the request again at once, with the same cursors', async () => {
    const { odin, next, sub } = await onPoll();
    const waiting = next(path('poll'));
    const other = odin.subscribe('price:BTC');
    await vi.advanceTimersByTimeAsync(20);
    expect(waiting.signal.aborted).toBe(true);
    const both = next(path('poll'));
    expect(both.body.channels).toEqual([{ channel: 'trades', since: cursor(3) }, { channel: 'price:BTC' }]);
    await both.answer(200, { cursor: `${cursor(4)},${cursor(5)}`, messages: [begun('price:BTC')] });
    expect(other.status).toBe('active');
    sub.unsubscribe();
    await vi.advanceTimersByTimeAsync(100);
    expect(next(path('poll')).body.channels).toEqual([{ channel: 'price:BTC', since: cursor(5) }]);
  });

  test('a channel that is refused is not asked for again', async () => {
    const { odin, next } = await onPoll();
    const other = odin.subscribe('portfolio');
    await vi.advanceTimersByTimeAsync(20);
    const error = { type: 'error', code: 'auth_required', message: 'who are you', channel: 'portfolio' };
    await next(path('poll')).answer(200, { cursor: `${cursor(4)},`, messages: [error] });
    expect(other.status).toBe('ended');
    await vi.advanceTimersByTimeAsync(100);
    expect(next(path('poll')).body.channels).toEqual([{ channel: 'trades', since: cursor(4) }]);
  });

  test('a token that has expired is replaced without an end', async () => {
    let count = 0;
    const { odin, next } = await onPoll({ token: () => `t${(count += 1)}` });
    const first = next(path('poll'));
    expect(first.token).toBe('Bearer t1');
    await first.answer(401, { error: { code: 'auth_failed', message: 'expired' } });
    await vi.advanceTimersByTimeAsync(100);
    const second = next(path('poll'));
    expect(second.token).toBe('Bearer t2');
    expect(odin.state.status).toBe('fallback');
    await second.answer(401, { error: { code: 'auth_failed', message: 'revoked' } });
    expect(odin.state.status).toBe('reconnecting');
  });

  test('of more than 500 channels are several requests', async () => {
    const { odin, requests } = await onPoll();
    requests.length = 0;
    for (let number = 0; number < 600; number += 1) odin.subscribe(`many:${number}`);
    await vi.advanceTimersByTimeAsync(20);
    expect(requests.map(({ body }) => body.channels.length)).toEqual([500, 101]);
    for (const { answer, body } of requests.splice(0)) {
      const channels = body.channels.map((entry) => (entry as { channel: string }).channel);
      await answer(200, { cursor: cursor(8), messages: channels.slice(1).map((channel) => begun(channel)) });
    }
    expect(odin.subscribe('many:599').cursor).toBe(cursor(8));
  });

  test('what an answer does not call stale is live again', async () => {
    const { odin, next, sub } = await onPoll();
    const channel = { type: 'stale', channel: 'trades', reason: 'feed_silent' };
    await next(path('poll')).answer(200, {
      cursor: cursor(3),
      messages: [{ type: 'stale', reason: 'bus_lost' }, channel],
    });
    expect(odin.state).toMatchObject({ status: 'stale', connection: { transport: 'poll' } });
    await vi.advanceTimersByTimeAsync(100);
    await next(path('poll')).answer(200, { cursor: cursor(3), messages: [channel] });
    expect(odin.state.status).toBe('fallback');
    expect(sub.stale).toMatchObject({ reason: 'feed_silent' });
    await vi.advanceTimersByTimeAsync(100);
    await next(path('poll')).answer(200, { cursor: cursor(3), messages: [] });
    expect(sub.stale).toBeUndefined();
  });

  test('a poll that is not answered is given up', async () => {
    const { odin } = await onPoll();
    await vi.advanceTimersByTimeAsync(35_000);
    expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no answer to a poll' });
  });

  test('hostile: an answer that is none, or comes at once each time', async () => {
    const { odin, next } = await onPoll();
    await next(path('poll')).answer(200, { messages: 'many' });
    expect(odin.state.status).toBe('reconnecting');
    const other = await onPoll();
    let asked = 0;
    for (let ms = 0; ms < 1_000; ms += 10) {
      const waiting = other.requests.splice(0);
      asked += waiting.length;
      for (const request of waiting) await request.answer(200, { cursor: cursor(3), messages: [] });
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(asked).toBeLessThanOrEqual(11);
  });
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
