import { expect, test } from 'vitest';
import { nextState, type Connection, type Happening, type State } from '../src/state.js';

const socket: Connection = {
  transport: 'websocket',
  connectionId: 'a',
  since: 1,
  clients: 2,
  server: 'odin',
  epoch: 'e',
};
const stream: Connection = {
  transport: 'events',
  connectionId: 'b',
  since: 3,
  clients: undefined,
  server: undefined,
  epoch: undefined,
};

const connecting: State = { status: 'connecting', attempt: 1 };
const connected: State = { status: 'connected', ...socket, transport: 'websocket' };
const fallback: State = { status: 'fallback', ...stream, transport: 'events' };
const stale: State = { status: 'stale', reason: 'bus_lost', since: 9, connection: socket };
const staleStream: State = { status: 'stale', reason: undefined, since: undefined, connection: stream };
const reconnecting: State = { status: 'reconnecting', attempt: 2, retryAt: 5, reason: 'lost', code: 1006 };
const closed: State = { status: 'closed', code: 4401, reason: 'unauthorized', willReturn: false };
const all = { connecting, connected, fallback, stale, staleStream, reconnecting, closed };

const dial: Happening = { type: 'dial', attempt: 3 };
const up: Happening = { type: 'up', connection: socket, stale: undefined };
const upElsewhere: Happening = { type: 'up', connection: stream, stale: undefined };
const upStale: Happening = { type: 'up', connection: socket, stale: { reason: 'bus_lost', since: 9 } };
const toldStale: Happening = { type: 'stale', reason: 'bus_lost', since: 9 };
const live: Happening = { type: 'live' };
const down: Happening = { type: 'down', attempt: 2, retryAt: 5, reason: 'lost', code: 1006 };
const end: Happening = { type: 'end', code: 4401, reason: 'unauthorized', willReturn: false };

/** Every state, everything that can happen, and what comes of it; `same` is the same object. */
const transitions: Record<keyof typeof all, [Happening, State | 'same'][]> = {
  connecting: [
    [dial, { status: 'connecting', attempt: 3 }],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, 'same'],
    [live, 'same'],
    [down, reconnecting],
    [end, closed],
  ],
  connected: [
    [dial, 'same'],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, stale],
    [live, 'same'],
    [down, reconnecting],
    [end, closed],
  ],
  fallback: [
    [dial, 'same'],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, { status: 'stale', reason: 'bus_lost', since: 9, connection: stream }],
    [live, 'same'],
    [down, reconnecting],
    [end, closed],
  ],
  stale: [
    [dial, 'same'],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, stale],
    [live, connected],
    [down, reconnecting],
    [end, closed],
  ],
  staleStream: [
    [dial, 'same'],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, { status: 'stale', reason: 'bus_lost', since: 9, connection: stream }],
    [live, fallback],
    [down, reconnecting],
    [end, closed],
  ],
  reconnecting: [
    [dial, { status: 'connecting', attempt: 3 }],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, 'same'],
    [live, 'same'],
    [down, reconnecting],
    [end, closed],
  ],
  closed: [
    [dial, { status: 'connecting', attempt: 3 }],
    [up, connected],
    [upElsewhere, fallback],
    [upStale, stale],
    [toldStale, 'same'],
    [live, 'same'],
    [down, reconnecting],
    [end, closed],
  ],
};

for (const [name, cases] of Object.entries(transitions)) {
  const state = all[name as keyof typeof all];
  test.each(cases)(`${name} goes on after $type as it should`, (happening, expected) => {
    const before = structuredClone(state);
    const after = nextState(state, happening);
    expect(state, 'a state is never changed').toEqual(before);
    if (expected === 'same') expect(after).toBe(state);
    else expect(after).toEqual(expected);
  });
}
