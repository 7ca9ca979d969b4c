/** A gateway made of nothing, for what only time can show. Real gateways are in `real/`. */

import { vi } from 'vitest';
import { connect, type ConnectOptions, type Network, type Odin, type State } from '../src/index.js';
import type { ClientMessage, ServerMessage } from '../src/message.js';

/** Waits until everything that was begun has happened, without time passing. */
export const settle = () => vi.advanceTimersByTimeAsync(0);

/** The gateway's end of a WebSocket. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error('nobody connects');
    return last;
  }

  binaryType = '';
  protocol = '';
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  sent: ClientMessage[] = [];
  closedWith: number | undefined;
  readonly url: string;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  send(data: unknown): void {
    this.sent.push(JSON.parse(data as string) as ClientMessage);
  }

  close(code?: number): void {
    this.closedWith = code;
  }

  get isOpen(): boolean {
    return this.closedWith === undefined;
  }

  /** The gateway says hello. */
  async hello(more: object = {}): Promise<this> {
    await this.say({
      type: 'connection:status',
      status: 'connected',
      connectionId: `c${FakeSocket.all.indexOf(this)}`,
      heartbeatMs: 25_000,
      connectedClients: 7,
      maxMessageBytes: 65_536,
      ...more,
    });
    return this;
  }

  async say(...messages: ServerMessage[]): Promise<void> {
    for (const message of messages) await this.raw(JSON.stringify(message));
  }

  async raw(data: unknown): Promise<void> {
    this.onmessage?.({ data } as never);
    await settle();
  }

  /** The gateway closes. */
  async end(code = 1006, reason = ''): Promise<void> {
    this.onclose?.({ code, reason } as never);
    await settle();
  }

  /** What was sent of this type, and takes it away. */
  took<T extends ClientMessage['type']>(type: T): (ClientMessage & { type: T })[] {
    const found = this.sent.filter((message) => message.type === type);
    this.sent = this.sent.filter((message) => message.type !== type);
    return found as (ClientMessage & { type: T })[];
  }

  /** Confirms all that was asked for; gives the entries. */
  async confirm(more: object = {}): Promise<{ channel: string; since?: string; mode?: string }[]> {
    const entries = [];
    for (const { id, channels } of this.took('subscribe')) {
      for (const entry of channels) {
        const { channel, ...rest } = typeof entry === 'string' ? { channel: entry } : entry;
        entries.push({ channel, ...rest });
        const recovered = 'since' in rest;
        await this.say({ type: 'subscribed', id: id!, channel, mode: 'all', recovered, ...more });
      }
    }
    return entries;
  }
}

/** One request of the client. */
export interface Request {
  path: string;
  token: string | null;
  body: { channels: (string | { channel: string; since?: string })[] } & Record<string, unknown>;
  signal: AbortSignal;
  /** Answers with JSON. */
  answer(status: number, body: unknown, headers?: Record<string, string>): Promise<void>;
  /** Answers with a stream; gives what writes events. */
  stream(): Promise<{
    event(message: object, name?: string): Promise<void>;
    comment(): Promise<void>;
    end(): Promise<void>;
  }>;
  fail(): Promise<void>;
}

/** A `fetch` whose requests a test answers. */
export function fakeFetch(): { fetch: typeof globalThis.fetch; requests: Request[]; next(path: string): Request } {
  const requests: Request[] = [];
  const fetch = ((url: string, init: RequestInit) =>
    new Promise<Response>((resolve, reject) => {
      const signal = init.signal!;
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      requests.push({
        path: url.replace(/^https?:\/\/[^/]*/, ''),
        token: new Headers(init.headers).get('Authorization'),
        body: JSON.parse(init.body as string) as Request['body'],
        signal,
        async answer(status, body, headers = {}) {
          resolve(new Response(JSON.stringify(body), { status, headers }));
          await settle();
        },
        async stream() {
          let controller!: ReadableStreamDefaultController<Uint8Array>;
          const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
          signal.addEventListener('abort', () => {
            try {
              controller.error(new DOMException('aborted', 'AbortError'));
            } catch {
              // it had ended
            }
          });
          resolve(new Response(body, { status: 200 }));
          const write = async (text: string) => {
            controller.enqueue(new TextEncoder().encode(text));
            await settle();
          };
          await settle();
          return {
            event: (message, name) => write(`${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(message)}\n\n`),
            comment: () => write(':\n\n'),
            async end() {
              controller.close();
              await settle();
            },
          };
        },
        async fail() {
          reject(new TypeError('fetch failed'));
          await settle();
        },
      });
    })) as typeof globalThis.fetch;
  return {
    fetch,
    requests,
    next(path) {
      const at = requests.findIndex((request) => request.path.startsWith(path) && !request.signal.aborted);
      if (at < 0) throw new Error(`nobody asks for ${path}: ${requests.map((request) => request.path).join(' ')}`);
      return requests.splice(at, 1)[0]!;
    },
  };
}

/** A network that a test switches. */
export function fakeNetwork(): Network & { tell(what: 'online' | 'offline' | 'visible'): Promise<void> } {
  let isOnline = true;
  let told: (what: 'online' | 'offline' | 'visible') => void = () => undefined;
  return {
    online: () => isOnline,
    watch(tell) {
      told = tell;
      return () => void (told = () => undefined);
    },
    async tell(what) {
      if (what !== 'visible') isOnline = what === 'online';
      told(what);
      await settle();
    },
  };
}

/** Everything a client says, in order. */
export interface Heard {
  states: State[];
  events: [string, unknown][];
  /** The values of one kind of event. */
  of(event: string): unknown[];
}

/** A client over {@link FakeSocket}, which draws the longest of all waits; time stands still until a test moves it. */
export async function client(options: Partial<ConnectOptions> = {}): Promise<{ odin: Odin; heard: Heard }> {
  FakeSocket.all = [];
  const odin = connect({
    url: 'wss://odin.example/ws',
    transports: ['websocket'],
    WebSocket: FakeSocket as never,
    random: () => 0.999_999_999,
    ...options,
  });
  const heard: Heard = {
    states: [],
    events: [],
    of: (event) => heard.events.filter(([name]) => name === event).map(([, value]) => value),
  };
  odin.on('state', (state) => heard.states.push(state));
  for (const name of ['update', 'gap', 'begin', 'resume', 'end', 'stale', 'live', 'error', 'system', 'auth'] as const) {
    odin.on(name, (value) => heard.events.push([name, value]));
  }
  await settle();
  return { odin, heard };
}

/** An update of a channel. */
export const update = (channel: string, prev: number | undefined, seq: number, more: object = {}): ServerMessage => ({
  type: 'update',
  channel,
  seq,
  ...(prev !== undefined && { prev }),
  ts: 1_000 + seq,
  epoch: 'epoch001',
  data: seq,
  ...more,
});

/** The cursor of such an update. */
export const cursor = (seq: number): string => `1.epoch001.${seq}.${1_000 + seq}`;
