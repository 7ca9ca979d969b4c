import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  missing,
  publishUntil,
  record,
  stage,
  until,
  untilAll,
  untilResumable,
  untilState,
  type Stage,
} from './stage.js';

const PRICE = 'odin.tokens.BTC.price';

describe.skipIf(missing)('a real gateway', () => {
  let odin: Stage;
  beforeAll(async () => {
    odin = await stage([
      ...['--heartbeat-interval', '1s', '--drain-pause', '0s', '--drain-window', '4s'],
      ...['--feeds-stale-after', '500ms', '--feeds-checkpoint-interval', '1s'],
    ]);
  });
  afterEach(() => odin.heal());
  afterAll(() => odin?.stop());

  /** The gateway that the client is connected to. */
  const serving = async () =>
    ((await odin.order('connections')).connections as number[]).findIndex((count) => count > 0);

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
  });

  test('that is killed is left for another one, and nothing is missing or comes twice', async () => {
    const client = odin.client();
    const [price, wide] = [record(client, 'price:BTC'), record(client, 'price:*')];
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price, wide);
    await untilResumable(client, price, wide);
    for (let round = 0; round < 4; round += 1) {
      const index = await serving();
      for (let number = 0; number < 20; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('kill_gateway', { index });
      for (let number = 20; number < 60; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('start_gateway', { index });
      await untilAll(client, stored, price, wide);
    }
    for (const history of [price, wide]) {
      expect(history.from(stored[0])).toEqual(stored);
      expect(history.gaps).toEqual([]);
    }
  });

  test('connections that are cut again and again lose nothing', async () => {
    const client = odin.client();
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    for (let round = 0; round < 15; round += 1) {
      for (let number = 0; number < 10; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
      await odin.order('cut');
    }
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
    expect(price.gaps).toEqual([]);
  });

  test('a black hole is found by its silence', async () => {
    const client = odin.client({ connectTimeoutMs: 1_000 });
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    const reasons: string[] = [];
    client.on('state', (state) => void (state.status === 'reconnecting' && reasons.push(state.reason)));
    await odin.order('pause_traffic', { on: true });
    await until(client, 'the end', () => reasons.length > 0);
    expect(reasons[0]).toBe('no sign of life');
    stored.push(...(await odin.publish(PRICE, 'in the dark')));
    await odin.order('pause_traffic', { on: false });
    await odin.order('cut');
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
  });

  test('without NATS values are stale, and then live, and nothing was lost', async () => {
    const client = odin.client();
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    await odin.order('stop_nats');
    await untilState(client, 'stale');
    expect(client.state).toMatchObject({ status: 'stale', reason: 'bus_lost', connection: { transport: 'websocket' } });
    await odin.order('start_nats');
    stored.push(...(await odin.publish(PRICE, 'after', 'and more')));
    await untilState(client, 'connected');
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
  });

  test('that drains is left before it closes, without a pause', async () => {
    await odin.order('balance', { only: 0 });
    // one of eight is closed at once, so that nobody can be faster; the others have half a second or more
    const others = Array.from({ length: 7 }, () => odin.client());
    for (const other of others) await untilState(other, 'connected');
    const client = odin.client({ random: () => 0 });
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    const statuses: string[] = [];
    client.on('state', (state) => statuses.push(state.status));
    let timeLeft = 0;
    client.on('system', (system) => (timeLeft = system.reconnectInMs ?? 0));
    const before = (client.state as { connectionId: string }).connectionId;
    await odin.order('balance', { only: 1 });
    await odin.order('drain_gateway', { index: 0 });
    const moved = untilState(client, 'connected', (state) => 'connectionId' in state && state.connectionId !== before);
    stored.push(...(await publishUntil(odin, PRICE, moved)));
    stored.push(...(await odin.publish(PRICE, 'there')));
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
    if (timeLeft > 0) expect(statuses, 'never away').not.toContain('reconnecting');
    await odin.order('balance', { only: null });
  });

  test('a program that kept its cursor goes on in another life', async () => {
    const first = odin.client();
    const price = first.subscribe('price:BTC', undefined, { mode: 'all' });
    const [seen] = await odin.publish(PRICE, 'at the begin');
    await until(first, 'the begin', () => price.cursor?.includes(`.${seen}.`) ?? false);
    const { cursor } = price;
    first.close();
    const missed = await odin.publish(PRICE, 'one', 'two');
    const second = odin.client();
    const again = record(second, 'price:BTC', { mode: 'all', since: cursor! });
    await untilAll(second, missed, again);
    expect(again.seqs).toEqual(missed);
    expect(again.updates.map(({ snapshot }) => snapshot)).toEqual([false, false]);
  });
});
