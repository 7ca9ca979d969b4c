import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cursor, settle, update } from './fakes.js';
import { begun, hello, made, onEvents, path } from './fallbacks.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('events bring the same messages', async () => {
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

test('events that end say whether to come back, and go on where they were', async () => {
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

test('events that are silent are dead after two heartbeats', async () => {
  const { odin, stream } = await onEvents();
  for (let number = 0; number < 5; number += 1) {
    await vi.advanceTimersByTimeAsync(49_000);
    await stream.comment();
  }
  expect(odin.state.status).toBe('fallback');
  await vi.advanceTimersByTimeAsync(50_000);
  expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'no sign of life' });
});

test('events are opened anew when something else is wanted, and the old stream serves until then', async () => {
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

test('events end when nothing is wanted any more, and begin again with the next wish', async () => {
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

test('events sign in by header, and a token that expires opens a second stream first', async () => {
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

test('events of more than 500 channels are several, and a checkpoint is for its own', async () => {
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
