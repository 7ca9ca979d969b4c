import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cursor, update } from './fakes.js';
import { begun, made, onPoll, path } from './fallbacks.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('polls bring the same messages, each with the cursor of the answer before', async () => {
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

test('polls of more than 500 channels are several requests', async () => {
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
