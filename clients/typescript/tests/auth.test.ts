import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ConnectOptions } from '../src/index.js';
import { client, FakeSocket, settle } from './fakes.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HOUR = 3_600_000;

/** A client with a source of tokens t1, t2, …, and how often it was asked. */
async function signing(options: Partial<ConnectOptions> = {}) {
  const token = vi.fn(() => `t${token.mock.calls.length}`);
  const made = await client({ token, ...options });
  return { ...made, token };
}

/** The gateway says hello and accepts the token. */
async function accept(more: object = {}) {
  const socket = await FakeSocket.last.hello();
  const { id } = socket.took('auth')[0]!;
  await socket.say({ type: 'authenticated', id: id!, sub: 'ada', ...more });
  return socket;
}

const refuse = async (code: string, more: object = {}) => {
  const { id } = FakeSocket.last.took('auth')[0]!;
  await FakeSocket.last.say({ type: 'error', id: id!, code, message: 'no', ...more });
};

test('gets a token first, and asks for nothing until it was accepted', async () => {
  const { odin, heard, token } = await signing();
  odin.subscribe('trades');
  expect(token).toHaveBeenCalledOnce();
  const socket = await FakeSocket.last.hello();
  expect(socket.sent).toEqual([{ type: 'auth', id: 1, token: 't1' }]);
  expect(odin.state.status).toBe('connecting');
  await socket.say({ type: 'authenticated', id: 1, sub: 'ada', expiresAt: Date.now() + HOUR });
  expect(odin.state.status).toBe('connected');
  expect(socket.took('subscribe')).toHaveLength(1);
  expect(heard.of('auth')).toEqual([{ sub: 'ada', expiresAt: Date.now() + HOUR, refresh: false }]);
});

test('gets a fresh token for each connection', async () => {
  const { token } = await signing();
  await accept();
  await FakeSocket.last.end(4003);
  await vi.advanceTimersByTimeAsync(500);
  await FakeSocket.last.hello();
  expect(FakeSocket.last.took('auth')).toMatchObject([{ token: 't2' }]);
  expect(token).toHaveBeenCalledTimes(2);
});

test('without a token it does not connect, and asks again soon', async () => {
  const { odin, token } = await signing({ token: () => Promise.reject(new Error('nobody home')) });
  expect(FakeSocket.all).toHaveLength(0);
  expect(odin.state).toMatchObject({
    status: 'reconnecting',
    retryAt: Date.now() + 500,
    reason: 'no token: Error: nobody home',
  });
  expect(token).not.toHaveBeenCalled();
});

test('a source that throws or does not answer is one without a token', async () => {
  const { odin } = await signing({
    token: () => {
      throw new Error('broken');
    },
  });
  expect(odin.state).toMatchObject({ reason: 'no token: Error: broken' });
  const { odin: other } = await signing({ token: () => new Promise(() => undefined), tokenTimeoutMs: 3_000 });
  await vi.advanceTimersByTimeAsync(3_000);
  expect(other.state).toMatchObject({ reason: 'no token: Error: no answer within 3000 ms' });
});

test('a token that is not accepted is replaced once on the same connection', async () => {
  const { odin, heard } = await signing();
  await FakeSocket.last.hello();
  await refuse('auth_failed');
  expect(FakeSocket.last.sent).toMatchObject([{ type: 'auth', token: 't2' }]);
  expect(heard.of('error')).toMatchObject([{ code: 'auth_failed', retryInMs: 0 }]);
  await refuse('auth_failed');
  expect(FakeSocket.last.closedWith).toBe(1000);
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 8_000, reason: 'auth_failed: no' });
  // from then on one try for each connection, until one was accepted
  await vi.advanceTimersByTimeAsync(8_000);
  await FakeSocket.last.hello();
  await refuse('auth_failed');
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 16_000 });
  await vi.advanceTimersByTimeAsync(16_000);
  await accept();
  expect(odin.state.status).toBe('connected');
  await FakeSocket.last.end(1006);
  await vi.advanceTimersByTimeAsync(30_000);
  await FakeSocket.last.hello();
  await refuse('auth_failed');
  expect(FakeSocket.last.sent, 'twice again').toMatchObject([{ type: 'auth' }]);
});

test('the same token again is no other one', async () => {
  const { odin } = await signing({ token: () => 'always' });
  await FakeSocket.last.hello();
  await refuse('auth_failed');
  expect(FakeSocket.last.sent).toEqual([]);
  expect(odin.state).toMatchObject({ status: 'reconnecting', reason: 'the token was refused' });
});

test('a gateway that cannot check tokens is asked again on the same connection', async () => {
  const { odin, heard } = await signing();
  await FakeSocket.last.hello();
  await refuse('auth_unavailable', { retryAfterMs: 2_000 });
  expect(heard.of('error')).toMatchObject([{ code: 'auth_unavailable', retryInMs: 2_501 }]);
  await vi.advanceTimersByTimeAsync(2_500);
  expect(FakeSocket.last.sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.last.sent).toMatchObject([{ type: 'auth', token: 't2' }]);
  expect(odin.state.status).toBe('connecting');
});

test('who may not connect does not come back', async () => {
  const { odin } = await signing();
  await FakeSocket.last.hello();
  await refuse('forbidden');
  expect(FakeSocket.last.closedWith).toBe(1000);
  expect(odin.state).toMatchObject({ status: 'closed', reason: 'forbidden: no', willReturn: false });
});

test('no answer to the token ends the connection soon', async () => {
  const { odin } = await signing({ connectTimeoutMs: 5_000 });
  await FakeSocket.last.hello();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(FakeSocket.last.closedWith).toBe(1000);
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 500 });
});

test('4401 is answered with another token once, and is the end then', async () => {
  const { odin } = await signing();
  await FakeSocket.last.hello();
  await FakeSocket.last.end(4401);
  expect(odin.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 500 });
  await vi.advanceTimersByTimeAsync(500);
  await FakeSocket.last.hello();
  await FakeSocket.last.end(4401);
  expect(odin.state).toMatchObject({ status: 'closed', code: 4401 });
});

test('refreshes between half and three quarters of the life, on the same connection', async () => {
  for (const [random, at] of [
    [0, HOUR / 2],
    [0.999_999_999, (HOUR * 3) / 4],
  ] as const) {
    const { heard, odin } = await signing({ random: () => random });
    const socket = await accept({ expiresAt: Date.now() + HOUR });
    const beat = setInterval(() => void socket.say({ type: 'pong', ts: 1 }), 1_000);
    await vi.advanceTimersByTimeAsync(at - 1);
    expect(socket.took('auth')).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    const [{ id, token }] = socket.took('auth') as [{ id: number; type: 'auth'; token: string }];
    expect(token).toBe('t2');
    await socket.say({ type: 'authenticated', id, sub: 'ada', expiresAt: Date.now() + HOUR });
    expect(heard.of('auth')).toMatchObject([{ refresh: false }, { refresh: true }]);
    expect(odin.state.status).toBe('connected');
    clearInterval(beat);
    odin.close();
  }
});

test('refreshes at once when it is told to, but not more than once in a second', async () => {
  const { token, odin } = await signing();
  const socket = await accept();
  const told = { type: 'system:status', status: 'token_expiring', expiresInMs: 60_000 } as const;
  await socket.say(told, told);
  expect(socket.took('auth')).toMatchObject([{ token: 't2' }]);
  expect(token).toHaveBeenCalledTimes(2);
  await socket.say({ type: 'authenticated', id: 2, sub: 'ada', expiresAt: Date.now() + HOUR });
  await socket.say(told);
  expect(socket.took('auth')).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(socket.took('auth')).toMatchObject([{ token: 't3' }]);
  odin.close();
});

test('a token that has expired by this clock waits to be told', async () => {
  await signing();
  const socket = await accept({ expiresAt: Date.now() - 5 * HOUR });
  const beat = setInterval(() => void socket.say({ type: 'pong', ts: 1 }), 1_000);
  await vi.advanceTimersByTimeAsync(HOUR);
  expect(socket.took('auth')).toEqual([]);
  clearInterval(beat);
});

test('a refresh that fails is tried again until the token in force has expired', async () => {
  const { heard, odin } = await signing();
  const socket = await accept({ expiresAt: Date.now() + 10_000 });
  await vi.advanceTimersByTimeAsync(7_500);
  await refuse('auth_failed');
  expect(heard.of('error')).toMatchObject([{ code: 'auth_failed', retryInMs: 500 }]);
  await vi.advanceTimersByTimeAsync(500);
  await refuse('unavailable');
  await vi.advanceTimersByTimeAsync(1_000);
  await refuse('auth_failed');
  expect(heard.of('error').at(-1), 'there is no time for another one').toMatchObject({ retryInMs: undefined });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(socket.took('auth')).toEqual([]);
  expect(odin.state.status, 'the gateway closes, not the client').toBe('connected');
});

test('a refresh with the token in force is none yet', async () => {
  const { heard } = await signing({ token: () => 'always' });
  const socket = await accept({ expiresAt: Date.now() + 10_000 });
  await vi.advanceTimersByTimeAsync(9_900);
  expect(socket.took('auth')).toEqual([]);
  expect(heard.of('error')).toEqual([]);
});

test('a refresh as another user is the end', async () => {
  const { odin } = await signing();
  const socket = await accept();
  await socket.say({ type: 'system:status', status: 'token_expiring' });
  await refuse('forbidden');
  expect(odin.state).toMatchObject({ status: 'closed', willReturn: false });
});

test('no token is in any state, event or error', async () => {
  const token = () => 'very-secret-token';
  const { odin, heard } = await signing({ token });
  await FakeSocket.last.hello();
  await refuse('auth_failed');
  await FakeSocket.last.end(1006);
  odin.close();
  await settle();
  const said = JSON.stringify([heard.states, heard.events, heard.of('error').map(String)]);
  expect(said).not.toContain('very-secret-token');
});
