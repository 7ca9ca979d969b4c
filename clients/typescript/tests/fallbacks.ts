/** Clients on a fallback, whose requests a test answers. */

import { vi } from 'vitest';
// the client loads them when it needs them; here they have to be there when time stands still
import '../src/events.js';
import '../src/poll.js';
import type { ConnectOptions } from '../src/index.js';
import { client, cursor, fakeFetch, FakeSocket, settle, update } from './fakes.js';

/** The first event of a stream. */
export const hello = {
  type: 'connection:status',
  status: 'connected',
  connectionId: 'e1',
  heartbeatMs: 25_000,
  connectedClients: 3,
  maxMessageBytes: 65_536,
};
/** A subscription of mode `all` begins. */
export const begun = (channel: string, recovered = false) => ({ type: 'subscribed', channel, mode: 'all', recovered });
/** Where something is asked for. */
export const path = (name: string) => `/v1/${name}`;

/** A client that wants `trades`, and is not connected yet. */
export async function made(options: Partial<ConnectOptions> = {}) {
  const http = fakeFetch();
  const all = await client({ transports: ['websocket', 'events', 'poll'], fetch: http.fetch, ...options });
  const seen: number[] = [];
  const sub = all.odin.subscribe('trades', ({ seq }) => seen.push(seq));
  await settle();
  return { ...all, ...http, sub, seen };
}

/** Fails so many WebSockets in a row, and waits for the next one after each but the last. */
export async function failSockets(count: number) {
  for (let number = 1; number <= count; number += 1) {
    const before = FakeSocket.all.length;
    await FakeSocket.last.end(1006);
    while (number < count && FakeSocket.all.length === before) await vi.advanceTimersByTimeAsync(100);
  }
}

/** The same, connected by events. */
export async function onEvents(options: Partial<ConnectOptions> = {}) {
  const all = await made({ transports: ['events', 'poll'], ...options });
  const request = all.next(path('events'));
  const stream = await request.stream();
  await stream.event(hello);
  await stream.event(begun('trades'));
  return { ...all, request, stream };
}

/** The same, connected by polls, at sequence 3. */
export async function onPoll(options: Partial<ConnectOptions> = {}) {
  const all = await made({ transports: ['poll'], ...options });
  await all.next(path('poll')).answer(200, { cursor: cursor(3), messages: [begun('trades'), update('trades', 0, 3)] });
  await vi.advanceTimersByTimeAsync(100);
  return all;
}
