import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ceiling, patience, uniform } from '../src/backoff.js';
import { comeBackAfter } from '../src/close.js';
import { checkMessage, json, loadMsgpack } from '../src/codec.js';
import { createEmitter } from '../src/emitter.js';
import { OdinError } from '../src/errors.js';
import { startHeartbeat } from '../src/heartbeat.js';
import { settle } from '../src/options.js';
import { createQueue } from '../src/queue.js';
import { createRoute } from '../src/route.js';
import { createSseReader, type ServerSentEvent } from '../src/sse.js';
import type { Update } from '../src/subscription.js';

describe('back-off', () => {
  test('doubles its ceiling up to the cap, and begins higher when asked for patience', () => {
    const soon = [0, 1, 2, 3, 4, 5, 6, 7, 2_000].map((n) => ceiling('soon', n, 500, 30_000));
    expect(soon).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    expect([0, 1, 2].map((n) => ceiling('later', n, 500, 30_000))).toEqual([8_000, 16_000, 30_000]);
  });

  test('hostile: a gateway asks for ten minutes at most, and for no less than nothing', () => {
    const waits = [undefined, 0, -5, NaN, 1_500, 1e300, Infinity].map(patience);
    expect(waits).toEqual([0, 0, 0, 0, 1_501, 600_001, 600_001]);
  });

  test('draws from the whole range', () => {
    expect(uniform(() => 0, 0, 500)).toBe(0);
    expect(uniform(() => 0.999_999, 0, 500)).toBe(500);
    expect(uniform(() => 0.5, 100, 100)).toBe(100);
  });
});

test('an HTTP answer says whether to come back', () => {
  for (const status of [400, 401, 403, 404, 405, 414, 426, 431]) expect(comeBackAfter(status)).toBe('never');
  for (const status of [429, 500, 502, 503]) expect(comeBackAfter(status)).toBe('later');
});

describe('messages', () => {
  test('hostile: what is no message is refused', () => {
    for (const text of ['', '[]', 'null', '1', '{}', '{"type":1}', '{"type":"update"}', '{', '"update"']) {
      expect(() => json.decode(text), text).toThrow();
    }
  });

  test('hostile: a member of the wrong type is refused, whichever it is', () => {
    const update = { type: 'update', channel: 'a', seq: 2, prev: 1, ts: 1, epoch: 'abcdefgh', data: 1, snapshot: true };
    expect(checkMessage(update)).toBe(update);
    for (const member of ['channel', 'seq', 'prev', 'ts', 'epoch', 'snapshot']) {
      expect(() => checkMessage({ ...update, [member]: {} }), member).toThrow('malformed update');
    }
    for (const member of ['channel', 'seq', 'ts', 'epoch']) {
      expect(() => checkMessage({ ...update, [member]: null }), member).toThrow();
    }
    expect(checkMessage({ ...update, prev: null })).toBeTruthy();
  });

  test('what is not known is let pass', () => {
    expect(checkMessage({ type: 'weather', cloud: 1 })).toBeTruthy();
    expect(checkMessage({ type: '__proto__' })).toBeTruthy();
    expect(checkMessage({ type: 'live', mood: 'good' })).toBeTruthy();
  });

  test('hostile: MessagePack that ends early, or goes on, is refused', async () => {
    const { decode } = await loadMsgpack();
    for (const bytes of [[], [0x81], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc1], [0x81, 0xa4], [0x80, 0x80]]) {
      expect(() => decode(new Uint8Array(bytes).buffer), String(bytes)).toThrow();
    }
  });
});

describe('listeners', () => {
  test('are told until they are off, or once', () => {
    const emitter = createEmitter<{ a: number }>();
    const heard: string[] = [];
    const off = emitter.on('a', (value) => heard.push(`always ${value}`));
    emitter.on('a', (value) => heard.push(`once ${value}`), { once: true });
    emitter.emit('a', 1);
    emitter.emit('a', 2);
    off();
    off();
    emitter.emit('a', 3);
    expect(heard).toEqual(['always 1', 'once 1', 'always 2']);
  });

  test('that come and go while others are told disturb nobody', () => {
    const emitter = createEmitter<{ a: number }>();
    const heard: string[] = [];
    emitter.on('a', () => {
      offSecond();
      emitter.on('a', () => heard.push('third'));
    });
    const offSecond = emitter.on('a', () => heard.push('second'));
    emitter.emit('a', 1);
    expect(heard).toEqual([]);
    emitter.emit('a', 2);
    expect(heard).toEqual(['third']);
  });

  test('that throw are reported, and the others are told all the same', () => {
    const report = vi.fn();
    vi.stubGlobal('reportError', report);
    const emitter = createEmitter<{ a: number }>();
    const heard: number[] = [];
    emitter.on('a', () => {
      throw new Error('mine');
    });
    emitter.on('a', (value) => heard.push(value));
    emitter.emit('a', 1);
    expect(heard).toEqual([1]);
    expect(report).toHaveBeenCalledWith(new Error('mine'));
    vi.unstubAllGlobals();
  });
});

describe('a queue', () => {
  const of = (seq: number, channel = 'a', key?: string): Update =>
    ({ channel, seq, ts: 1, epoch: 'e', snapshot: false, data: seq, ...(key && { key }) }) as Update;

  test('keeps the newest of each chain in mode latest', async () => {
    const queue = createQueue('price:*', 1, () => undefined);
    for (const update of [of(1, 'a'), of(2, 'b'), of(3, 'a'), of(4, 'a', 'k')]) queue.push(update, 'latest');
    const seqs = [await queue.next(), await queue.next(), await queue.next()].map(({ value }) => value?.seq);
    expect(seqs).toEqual([3, 2, 4]);
  });

  test('gives what it has in mode all, and then says that it overflowed', async () => {
    const done = vi.fn();
    const queue = createQueue('trades', 2, done);
    expect(queue.push(of(1), 'all')).toBeUndefined();
    expect(queue.push(of(2), 'all')).toBeUndefined();
    expect(queue.push(of(3), 'all')).toMatchObject({ code: 'overflow', channel: 'trades', limit: 2 });
    expect(queue.push(of(4), 'all')).toBeUndefined();
    expect(done).toHaveBeenCalledOnce();
    expect((await queue.next()).value?.seq).toBe(1);
    expect((await queue.next()).value?.seq).toBe(2);
    await expect(queue.next()).rejects.toMatchObject({ code: 'overflow' });
    expect(await queue.next()).toEqual({ done: true, value: undefined });
  });

  test('wakes who waits, in the order they came', async () => {
    const queue = createQueue('trades', 2, () => undefined);
    const [first, second, third] = [queue.next(), queue.next(), queue.next()];
    queue.push(of(1), 'all');
    queue.push(of(2), 'all');
    queue.end(new OdinError('forbidden', 'no more'));
    expect((await first).value?.seq).toBe(1);
    expect((await second).value?.seq).toBe(2);
    await expect(third).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('ends when the application leaves the loop', async () => {
    const done = vi.fn();
    const queue = createQueue('trades', 2, done);
    queue.push(of(1), 'all');
    await queue.return!();
    expect(done).toHaveBeenCalled();
    expect(await queue.next()).toEqual({ done: true, value: undefined });
  });
});

describe('server-sent events', () => {
  const read = (pieces: Uint8Array[]) => {
    const events: ServerSentEvent[] = [];
    const reader = createSseReader((event) => events.push(event));
    pieces.forEach((piece) => reader.push(piece));
    return events;
  };
  const text =
    'retry: 10\n\n: hi\n\ndata: {"a":"é"}\r\n\r\nid: 7\revent: close\rdata:x\rdata: y\r\n\ndata\n\nevent: z\n\n';
  const bytes = new TextEncoder().encode(text);
  const expected = [
    { event: 'message', data: '{"a":"é"}' },
    { event: 'close', data: 'x\ny' },
    { event: 'message', data: '' },
  ];

  test('are read wherever a packet ends', () => {
    expect(read([bytes])).toEqual(expected);
    expect(read([...bytes].map((byte) => new Uint8Array([byte])))).toEqual(expected);
    for (let at = 0; at < bytes.length; at += 1) {
      expect(read([bytes.slice(0, at), bytes.slice(at)]), `cut at ${at}`).toEqual(expected);
    }
  });

  test('hostile: an event without end is not kept for ever', () => {
    const reader = createSseReader(() => undefined);
    const piece = new Uint8Array(1_000_000).fill(97);
    expect(() => {
      for (let count = 0; count < 10; count += 1) reader.push(piece);
    }).toThrow('without end');
  });
});

describe('a route', () => {
  test('takes the next way after three failures, and begins again after the last', () => {
    const route = createRoute(['websocket', 'events', 'poll'], 3);
    const names = Array.from({ length: 10 }, () => [route.name, route.failed()][0]);
    expect(names).toEqual([
      ...['websocket', 'websocket', 'websocket'],
      ...['events', 'events', 'events'],
      ...['poll', 'poll', 'poll'],
      'websocket',
    ]);
  });

  test('counts failures in a row only', () => {
    const route = createRoute(['websocket', 'events'], 2);
    expect(route.failed()).toBe(false);
    route.reached();
    expect(route.failed()).toBe(false);
    expect(route.failed()).toBe(true);
    route.take('websocket');
    expect(route.name).toBe('websocket');
  });

  test('drops a way that is of no use, but not the last one', () => {
    const route = createRoute(['websocket', 'events', 'poll'], 1);
    route.failed();
    expect(route.name).toBe('events');
    expect(route.drop('events')).toBe(true);
    expect(route.name).toBe('poll');
    expect(route.drop('websocket')).toBe(true);
    expect(route.name).toBe('poll');
    expect(route.drop('poll')).toBe(false);
    expect(route.failed()).toBe(false);
  });
});

describe('a heartbeat', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const { clock } = settle({ url: 'ws://a/', WebSocket: class {} as never, transports: ['websocket'] });

  const start = (canAsk = true) => {
    const said: string[] = [];
    const at = performance.now();
    const note = (what: string) => said.push(`${what} ${Math.round(performance.now() - at)}`);
    const ask = () => {
      if (canAsk) note('ask');
      return canAsk;
    };
    return { said, beat: startHeartbeat(clock, 1_000, ask, () => note('dead')) };
  };

  test('asks after one and a half, and gives up after two', () => {
    const { said } = start();
    vi.advanceTimersByTime(10_000);
    expect(said).toEqual(['ask 1500', 'dead 2000']);
  });

  test('is content with any sign', () => {
    const { said, beat } = start();
    for (let count = 0; count < 10; count += 1) {
      vi.advanceTimersByTime(1_400);
      beat.heard();
    }
    vi.advanceTimersByTime(1_600);
    expect(said).toEqual(['ask 15500']);
    beat.heard();
    vi.advanceTimersByTime(1_400);
    expect(said).toEqual(['ask 15500']);
    beat.stop();
  });

  test('does not take its own lateness for silence', () => {
    const { said } = start();
    // the timers of a hidden page run late
    const late = performance.now() + 60_000;
    const now = vi.spyOn(performance, 'now').mockReturnValue(late);
    vi.advanceTimersByTime(1_500);
    expect(said.map((what) => what.split(' ')[0])).toEqual(['ask']);
    now.mockReturnValue(late + 499);
    vi.advanceTimersByTime(499);
    expect(said).toHaveLength(1);
    now.mockReturnValue(late + 1_000);
    vi.advanceTimersByTime(501);
    expect(said.map((what) => what.split(' ')[0])).toEqual(['ask', 'dead']);
    now.mockRestore();
  });

  test('in doubt asks at once', () => {
    const { said, beat } = start();
    vi.advanceTimersByTime(100);
    beat.doubt();
    vi.advanceTimersByTime(10_000);
    expect(said).toEqual(['ask 100', 'dead 600']);
  });

  test('in doubt is patient where it cannot ask', () => {
    const { said, beat } = start(false);
    beat.doubt();
    vi.advanceTimersByTime(1_999);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(said).toEqual(['dead 2000']);
  });

  test('hostile: a heartbeat of nothing does not spin', () => {
    let asked = 0;
    const beat = startHeartbeat(
      clock,
      -5,
      () => (asked += 1) > 0,
      () => undefined,
    );
    for (let count = 0; count < 100; count += 1) {
      vi.advanceTimersByTime(1);
      beat.heard();
    }
    expect(asked).toBeLessThan(20);
    beat.stop();
  });
});

describe('options', () => {
  const WebSocket = class {} as never;
  const wrong = (options: object) => {
    try {
      settle({ url: 'wss://a/ws', WebSocket, ...options });
    } catch (error) {
      return (error as OdinError).code;
    }
    return 'fine';
  };

  test('know where HTTP is', () => {
    expect(settle({ url: 'wss://a.example:8443/ws?x=1', WebSocket }).httpUrl).toBe('https://a.example:8443');
    expect(settle({ url: 'ws://[::1]/ws', WebSocket }).httpUrl).toBe('http://[::1]');
    expect(settle({ url: 'WS://a:80', WebSocket }).httpUrl).toBe('http://a:80');
    expect(settle({ url: 'ws://a/ws', httpUrl: 'https://b/odin/', WebSocket }).httpUrl).toBe('https://b/odin');
  });

  test('that cannot work are refused', () => {
    for (const url of [
      '',
      'http://a/ws',
      'a',
      'wss://',
      'wss://user:secret@a/ws',
      'wss://a/ws#x',
      'wss:///ws',
      'wss://a b/ws',
      7 as never,
    ]) {
      expect(wrong({ url }), url).toBe('invalid_argument');
    }
    expect(wrong({ httpUrl: 'ws://a' })).toBe('invalid_argument');
    expect(wrong({ codec: 'xml' })).toBe('invalid_argument');
    expect(wrong({ connectTimeoutMs: 0 })).toBe('invalid_argument');
    expect(wrong({ pollWaitS: 56 })).toBe('invalid_argument');
    expect(wrong({ publishQueue: NaN })).toBe('invalid_argument');
    expect(wrong({ transports: [] })).toBe('invalid_argument');
    expect(wrong({})).toBe('fine');
  });

  test('without a WebSocket leave what HTTP can do', () => {
    vi.stubGlobal('WebSocket', undefined);
    expect(settle({ url: 'wss://a/ws' }).transports).toEqual(['events', 'poll']);
    vi.stubGlobal('fetch', undefined);
    expect(() => settle({ url: 'wss://a/ws' })).toThrow('none of the transports websocket, events, poll');
    vi.unstubAllGlobals();
  });

  test('a fetch that cannot stream polls', () => {
    vi.stubGlobal('Response', class {});
    expect(settle({ url: 'wss://a/ws', WebSocket }).transports).toEqual(['websocket', 'poll']);
    vi.unstubAllGlobals();
  });
});
