import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, record, stage, until, untilState, type Stage } from './stage.js';

const PRICE = 'odin.tokens.BTC.price';

describe.skipIf(missing)('a real gateway', () => {
  let odin: Stage;
  beforeAll(async () => {
    odin = await stage([
      ...['--heartbeat-interval', '1s', '--drain-pause', '0s', '--drain-window', '4s'],
      ...['--feeds-stale-after', '500ms'],
    ]);
  });
  afterAll(() => odin?.stop());

  test.each(['json', 'msgpack'] as const)('serves values in %s', async (codec) => {
    const [seq] = await odin.publish(PRICE, { price: 1.5, text: 'é', list: [null, true, -7] });
    const client = odin.client({ codec });
    const price = record(client, 'price:BTC');
    await until(client, 'a snapshot', () => price.seqs.length === 1);
    expect(price.updates[0]).toMatchObject({
      seq,
      snapshot: true,
      data: { price: 1.5, text: 'é', list: [null, true, -7] },
    });
    const [next] = await odin.publish(PRICE, { price: 2 });
    await until(client, 'an update', () => price.seqs.length === 2);
    expect(price.updates[1]).toMatchObject({ seq: next, prev: seq, snapshot: false, data: { price: 2 } });
    client.close();
  });

  test('says what is wrong with a channel', async () => {
    const client = odin.client();
    const codes: unknown[] = [];
    client.on('end', (end) => codes.push([end.channel, end.error?.code]));
    for (const channel of ['no:such', 'trades', 'market:nothing']) client.subscribe(channel);
    await until(client, 'three refusals', () => codes.length === 3);
    expect(codes.sort()).toEqual([
      ['market:nothing', 'unknown_channel'],
      ['no:such', 'unknown_channel'],
      ['trades', 'auth_required'],
    ]);
    expect(client.state.status).toBe('connected');
    client.close();
  });

  test('that is killed is left for another one, and nothing is missing or comes twice', async () => {
    const client = odin.client();
    await odin.publish(PRICE, 0);
    const price = record(client, 'price:BTC');
    const wide = record(client, 'price:*');
    await until(client, 'the begin', () => price.seqs.length > 0 && wide.seqs.length > 0);
    const from = price.seqs[0]!;
    const stored: number[] = [from];
    for (let round = 0; round < 4; round += 1) {
      const connections = (await odin.order('connections')).connections as number[];
      const index = connections.findIndex((count) => count > 0);
      for (let number = 0; number < 20; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('kill_gateway', { index });
      for (let number = 20; number < 60; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('start_gateway', { index });
      await until(
        client,
        'everything',
        () => price.seqs.at(-1) === stored.at(-1) && wide.seqs.at(-1) === stored.at(-1),
      );
    }
    expect(price.seqs).toEqual(stored);
    expect(wide.seqs).toEqual(stored);
    expect([price.gaps, wide.gaps]).toEqual([[], []]);
    client.close();
  });

  test('connections that are cut again and again lose nothing', async () => {
    const client = odin.client();
    await odin.publish(PRICE, 0);
    const price = record(client, 'price:BTC');
    await until(client, 'the begin', () => price.seqs.length > 0);
    const stored = [price.seqs[0]!];
    for (let round = 0; round < 15; round += 1) {
      for (let number = 0; number < 10; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('cut');
    }
    await until(client, 'everything', () => price.seqs.at(-1) === stored.at(-1));
    expect(price.seqs).toEqual(stored);
    expect(price.gaps).toEqual([]);
    client.close();
  });

  test('a black hole is found by its silence', async () => {
    const client = odin.client({ connectTimeoutMs: 1_000 });
    const price = record(client, 'price:BTC');
    await until(client, 'the begin', () => price.seqs.length > 0);
    const stored = [price.seqs.at(-1)!];
    await odin.order('pause_traffic', { on: true });
    await untilState(
      client,
      'reconnecting',
      (state) => state.status === 'reconnecting' && state.reason === 'no sign of life',
    );
    stored.push(...(await odin.publish(PRICE, 'in the dark')));
    await odin.order('pause_traffic', { on: false });
    await odin.order('cut');
    await until(client, 'everything', () => price.seqs.at(-1) === stored.at(-1));
    expect(price.seqs).toEqual(stored);
    client.close();
  });

  test('without NATS values are stale, and then live, and nothing was lost', async () => {
    const client = odin.client();
    await odin.publish(PRICE, 'before');
    const price = record(client, 'price:BTC');
    await until(client, 'the begin', () => price.seqs.length > 0);
    const [from] = price.seqs;
    await odin.order('stop_nats');
    await untilState(client, 'stale');
    expect(client.state).toMatchObject({ status: 'stale', reason: 'bus_lost', connection: { transport: 'websocket' } });
    await odin.order('start_nats');
    const stored = await odin.publish(PRICE, 'after', 'and more');
    await untilState(client, 'connected');
    await until(client, 'everything', () => price.seqs.at(-1) === stored.at(-1));
    expect(price.seqs).toEqual([from, ...stored]);
    client.close();
  });

  test('that drains is left before it closes, without a pause', async () => {
    const client = odin.client();
    const statuses: string[] = [];
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await until(client, 'the begin', () => price.seqs.at(-1) === stored[0]);
    client.on('state', (state) => statuses.push(state.status));
    const before = (client.state as { connectionId: string }).connectionId;
    const connections = (await odin.order('connections')).connections as number[];
    const index = connections.findIndex((count) => count > 0);
    await odin.order('drain_gateway', { index });
    await odin.order('balance', { only: 1 - index });
    const moved = untilState(client, 'connected', (state) => 'connectionId' in state && state.connectionId !== before);
    let isMoved = false;
    void moved.finally(() => (isMoved = true));
    while (!isMoved) {
      stored.push(...(await odin.publish(PRICE, 'on the way')));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await moved;
    stored.push(...(await odin.publish(PRICE, 'there')));
    await until(client, 'everything', () => price.seqs.at(-1) === stored.at(-1));
    expect(price.seqs.slice(price.seqs.indexOf(stored[0]!))).toEqual(stored);
    expect(statuses, 'never away').toEqual(['connected']);
    await odin.order('balance', { only: null });
    client.close();
    await odin.order('start_gateway', { index });
  });

  test('a program that kept its cursor goes on in another life', async () => {
    const first = odin.client();
    const price = first.subscribe('price:BTC', undefined, { mode: 'all' });
    await until(first, 'a cursor', () => price.cursor !== undefined);
    const { cursor } = price;
    first.close();
    const missed = await odin.publish(PRICE, 'one', 'two');
    const second = odin.client();
    const again = record(second, 'price:BTC', { mode: 'all', since: cursor! });
    await until(second, 'what was missed', () => again.seqs.length === 2);
    expect(again.seqs).toEqual(missed);
    expect(again.updates.map(({ snapshot }) => snapshot)).toEqual([false, false]);
    second.close();
  });
});
