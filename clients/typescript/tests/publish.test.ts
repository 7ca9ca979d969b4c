import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { client, FakeSocket, settle } from './fakes.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const CHANNEL = 'chat:lobby';

/** What became of a promise, without waiting for it. */
function outcome(promise: Promise<unknown>): { now: unknown } {
  const seen = { now: 'waiting' as unknown };
  promise.then(
    (value) => (seen.now = value),
    (error: { code: string }) => (seen.now = error.code),
  );
  return seen;
}

test('publishes, and says where it is stored', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello();
  const published = odin.publish(CHANNEL, { text: 'hello' });
  expect(socket.sent).toEqual([{ type: 'publish', id: 1, channel: CHANNEL, data: { text: 'hello' } }]);
  await socket.say({ type: 'published', id: 1, channel: CHANNEL, seq: 9, epoch: 'epoch001' });
  expect(await published).toEqual({ channel: CHANNEL, seq: 9, epoch: 'epoch001' });
});

test('waits for a connection, in the order of the calls, and takes the data as they were', async () => {
  const { odin } = await client();
  const data = { text: 'first' };
  void odin.publish(CHANNEL, data);
  data.text = 'changed';
  void odin.publish(CHANNEL, null);
  const socket = await FakeSocket.last.hello();
  expect(socket.took('publish').map(({ data }) => data)).toEqual([{ text: 'first' }, null]);
});

test('what was subscribed before it is asked for before it', async () => {
  const { odin } = await client();
  odin.subscribe(CHANNEL);
  void odin.publish(CHANNEL, 1);
  const socket = await FakeSocket.last.hello();
  await vi.advanceTimersByTimeAsync(1_000);
  odin.subscribe('chat:attic');
  void odin.publish('chat:attic', 2);
  await settle();
  expect(socket.sent.map(({ type }) => type)).toEqual(['subscribe', 'publish', 'subscribe', 'publish']);
});

test('brings the connection back that was closed for idleness', async () => {
  const { odin } = await client();
  await FakeSocket.last.hello();
  await FakeSocket.last.end(4002);
  void odin.publish(CHANNEL, 1);
  await settle();
  await FakeSocket.last.hello();
  expect(FakeSocket.last.took('publish')).toHaveLength(1);
});

test('has sixteen under way, and a bounded number waiting', async () => {
  const { odin } = await client({ publishQueue: 3 });
  const socket = await FakeSocket.last.hello();
  const outcomes = Array.from({ length: 20 }, (_, number) => outcome(odin.publish(CHANNEL, number)));
  await settle();
  expect(socket.took('publish')).toHaveLength(16);
  expect(outcomes.map(({ now }) => now)).toEqual([...Array.from({ length: 19 }, () => 'waiting'), 'queue_full']);
  await socket.say({ type: 'published', id: 1, channel: CHANNEL, seq: 9, epoch: 'epoch001' });
  expect(socket.took('publish').map(({ data }) => data)).toEqual([16]);
});

test('what was sent when the connection ended has an unknown outcome, and is not repeated', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello();
  const sent = outcome(odin.publish(CHANNEL, 1));
  await socket.end(1006);
  expect(sent.now).toBe('outcome_unknown');
  await vi.advanceTimersByTimeAsync(500);
  await FakeSocket.last.hello();
  expect(FakeSocket.last.sent).toEqual([]);
});

test('no answer in time: not sent, or unknown', async () => {
  const { odin } = await client();
  const waiting = outcome(odin.publish(CHANNEL, 1, { timeoutMs: 1_000 }));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(waiting.now).toBe('not_sent');
  const socket = await FakeSocket.last.hello();
  expect(socket.sent).toEqual([]);
  const sent = outcome(odin.publish(CHANNEL, 1, { timeoutMs: 1_000 }));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent.now).toBe('outcome_unknown');
  await socket.say({ type: 'published', id: 1, channel: CHANNEL, seq: 9, epoch: 'epoch001' });
});

test('an abort: not sent, or unknown', async () => {
  const { odin } = await client();
  const abort = new AbortController();
  const { signal } = abort;
  const waiting = outcome(odin.publish(CHANNEL, 1, { signal }));
  abort.abort(new Error('enough'));
  await settle();
  expect(waiting.now).toBe('aborted');
  await expect(odin.publish(CHANNEL, 1, { signal })).rejects.toMatchObject({
    code: 'aborted',
    cause: new Error('enough'),
  });
  const socket = await FakeSocket.last.hello();
  expect(socket.sent).toEqual([]);
  const other = new AbortController();
  const sent = outcome(odin.publish(CHANNEL, 1, { signal: other.signal }));
  other.abort();
  await settle();
  expect(sent.now).toBe('outcome_unknown');
});

test('a refusal has the code of the gateway; unavailable is unknown', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello();
  const [forbidden, unavailable] = [outcome(odin.publish(CHANNEL, 1)), outcome(odin.publish(CHANNEL, 2))];
  await socket.say({ type: 'error', id: 1, code: 'forbidden', message: 'no', channel: CHANNEL });
  await socket.say({ type: 'error', id: 2, code: 'unavailable', message: 'no answer of the stream' });
  expect([forbidden.now, unavailable.now]).toEqual(['forbidden', 'outcome_unknown']);
});

test('after rate_limited nothing is sent for as long as the gateway says', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello();
  void odin.publish(CHANNEL, 1).catch(() => undefined);
  await socket.say({ type: 'error', id: 1, code: 'rate_limited', message: 'slowly', retryAfterMs: 2_000 });
  socket.sent = [];
  void odin.publish(CHANNEL, 2);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(socket.sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket.took('publish').map(({ data }) => data)).toEqual([2]);
});

test('hostile: what no gateway would take is refused here, before it can end the connection', async () => {
  const { odin } = await client();
  const socket = await FakeSocket.last.hello({ maxMessageBytes: 1_024 });
  const circle: { self?: unknown } = {};
  circle.self = circle;
  let deep: unknown = 1;
  for (let level = 0; level < 65; level += 1) deep = [deep];
  for (const data of [undefined, () => 1, Symbol('a'), 1n, circle, deep, 'lone \ud800', { '\udfff': 1 }]) {
    await expect(odin.publish(CHANNEL, data)).rejects.toMatchObject({ code: 'invalid_argument' });
  }
  for (const channel of ['chat:*', 'a b', '']) {
    await expect(odin.publish(channel, 1)).rejects.toMatchObject({ code: 'invalid_argument' });
  }
  await expect(odin.publish(CHANNEL, 'é'.repeat(500))).rejects.toMatchObject({ code: 'message_too_big', limit: 1_024 });
  expect(socket.sent).toEqual([]);
  for (const data of [null, 'pair \u{1f600}', 'a \\ud800 b', [[[[1]]]], 'é'.repeat(450)])
    void odin.publish(CHANNEL, data);
  expect(socket.took('publish')).toHaveLength(5);
});

test('closing rejects what waits, and what was sent is unknown', async () => {
  const { odin } = await client();
  const waiting = outcome(odin.publish(CHANNEL, 1));
  odin.close();
  await settle();
  expect(waiting.now).toBe('closed');
  const { odin: other } = await client();
  await FakeSocket.last.hello();
  const sent = outcome(other.publish(CHANNEL, 1));
  other.close();
  await settle();
  expect(sent.now).toBe('outcome_unknown');
  await expect(other.publish(CHANNEL, 1)).rejects.toMatchObject({ code: 'closed' });
});

test('closing leaves no timer behind, whatever was under way', async () => {
  const { odin } = await client({ random: () => 0 });
  const first = await FakeSocket.last.hello();
  const outcomes = [1, 2, 3].map((number) => outcome(odin.publish(CHANNEL, number)));
  await first.say({ type: 'error', id: 1, code: 'rate_limited', message: 'slowly', retryAfterMs: 60_000 });
  await first.say({ type: 'system:status', status: 'draining', reconnectInMs: 30_000 });
  await FakeSocket.last.hello();
  expect(first.isOpen).toBe(true);
  odin.close();
  await settle();
  expect(outcomes.map(({ now }) => now)).toEqual(['rate_limited', 'outcome_unknown', 'outcome_unknown']);
  expect([first.isOpen, vi.getTimerCount()]).toEqual([false, 0]);
});

test('a publication that is under way when another connection takes over still gets its answer', async () => {
  const { odin } = await client({ random: () => 0 });
  const first = await FakeSocket.last.hello();
  const published = outcome(odin.publish(CHANNEL, 1));
  await first.say({ type: 'system:status', status: 'draining', reconnectInMs: 30_000 });
  await FakeSocket.last.hello();
  expect(odin.state).toMatchObject({ connectionId: 'c1' });
  expect(first.isOpen).toBe(true);
  await first.say({ type: 'published', id: 1, channel: CHANNEL, seq: 9, epoch: 'epoch001' });
  expect(published.now).toMatchObject({ seq: 9 });
  expect(first.isOpen).toBe(false);
});
