import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectOptions, TransportName } from '../../src/index.js';
import {
  configFile,
  jwt,
  missing,
  publishUntil,
  record,
  SIGN_IN,
  stage,
  until,
  untilAll,
  untilResumable,
  untilState,
  type Stage,
} from './stage.js';

const PRICE = 'odin.tokens.BTC.price';

const RULES = `
[[rules]]
channel = "price:{token}"
subject = "odin.tokens.{token}.price"
access = "public"
mode = "latest"
client_mode = true
pattern = true

[[rules]]
channel = "chat:{room}"
subject = "odin.chat.{room}"
access = "public"
publish = "signed_in"
mode = "all"

[[rules]]
channel = "trades"
subject = "odin.users.{sub}.trades"
access = "owner"
mode = "all"
`;

describe.skipIf(missing)('a real gateway behind a proxy that takes no WebSockets', () => {
  let odin: Stage;
  beforeAll(async () => {
    odin = await stage([
      ...SIGN_IN,
      ...['--auth-expiry-warning', '1s', '--heartbeat-interval', '1s', '--drain-pause', '0s', '--drain-window', '4s'],
      ...['--config', configFile(RULES)],
    ]);
  });
  afterEach(() => odin.heal());
  afterAll(() => odin?.stop());

  const quick: Partial<ConnectOptions> = { connectTimeoutMs: 5_000, probeMinMs: 200, probeMaxMs: 1_000, pollWaitS: 2 };

  test('is reached by events, and by WebSocket again when that works, and nothing is missing', async () => {
    await odin.order('block_websocket', { on: true });
    const client = odin.client(quick);
    const price = record(client, 'price:BTC');
    await untilState(client, 'fallback');
    expect(client.state).toMatchObject({ transport: 'events' });
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    await odin.order('block_websocket', { on: false });
    stored.push(...(await publishUntil(odin, PRICE, untilState(client, 'connected'))));
    stored.push(...(await odin.publish(PRICE, 'there')));
    await untilAll(client, stored, price);
    await odin.order('block_websocket', { on: true });
    stored.push(...(await publishUntil(odin, PRICE, untilState(client, 'fallback'))));
    stored.push(...(await odin.publish(PRICE, 'and back')));
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
    expect(price.gaps).toEqual([]);
  });

  describe.each<TransportName>(['events', 'poll'])('by %s', (transport) => {
    const options: Partial<ConnectOptions> = { ...quick, transports: [transport] };

    test('that is killed is left for another one, and nothing is missing or comes twice', async () => {
      const client = odin.client(options);
      const [price, wide] = [record(client, 'price:BTC'), record(client, 'price:*')];
      const stored = await odin.publish(PRICE, 'at the begin');
      await untilAll(client, stored, price, wide);
      await untilResumable(client, price, wide);
      for (let round = 0; round < 4; round += 1) {
        for (let number = 0; number < 20; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
        await odin.order('kill_gateway', { index: round % 2 });
        for (let number = 20; number < 40; number += 1) stored.push(...(await odin.publish(PRICE, { round, number })));
        await odin.order('start_gateway', { index: round % 2 });
        await odin.order('cut');
        await untilAll(client, stored, price, wide);
      }
      for (const history of [price, wide]) {
        expect(history.from(stored[0])).toEqual(stored);
        expect(history.gaps).toEqual([]);
      }
    });

    test('takes another wish, and lets go of one', async () => {
      const client = odin.client(options);
      const btc = record(client, 'price:BTC');
      await untilState(client, 'fallback');
      const eth = record(client, 'price:ETH');
      const [one] = await odin.publish('odin.tokens.ETH.price', 1);
      await until(client, 'the new one', () => eth.seqs.at(-1) === one);
      const [two] = await odin.publish(PRICE, 2);
      await until(client, 'the old one', () => btc.seqs.at(-1) === two);
      const gone: unknown[] = [];
      client.on('end', (end) => gone.push(end.error?.code));
      client.subscribe('trades');
      client.subscribe('no:such');
      await until(client, 'two refusals', () => gone.length === 2);
      expect(gone.sort()).toEqual(['auth_required', 'unknown_channel']);
      const [three] = await odin.publish(PRICE, 3);
      await until(client, 'the others go on', () => btc.seqs.at(-1) === three);
    });

    test('signs in, refreshes in time, and publishes', async () => {
      let asked = 0;
      const token = () => {
        asked += 1;
        return jwt('ada', 4);
      };
      const client = odin.client({ ...options, token });
      const trades = record(client, 'trades', {});
      await untilState(client, 'fallback');
      const statuses = new Set<string>();
      client.on('state', ({ status }) => statuses.add(status));
      const stored: number[] = [];
      while (asked < 4) {
        stored.push(...(await odin.publish('odin.users.ada.trades', asked)));
        await until(client, 'a trade', () => trades.seqs.at(-1) === stored.at(-1));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect([...statuses].filter((status) => status !== 'fallback')).toEqual([]);
      expect(trades.from(stored[0])).toEqual(stored);
      expect(await client.publish('chat:lobby', { text: 'hello' })).toMatchObject({ channel: 'chat:lobby' });
      await expect(client.publish('no:rule', 1)).rejects.toMatchObject({ code: 'unknown_channel' });
    });

    test('that has no NATS says that values are stale', async () => {
      const client = odin.client(options);
      const price = record(client, 'price:BTC');
      const stored = await odin.publish(PRICE, 'at the begin');
      await untilAll(client, stored, price);
      await odin.order('stop_nats');
      await untilState(client, 'stale');
      await odin.order('start_nats');
      stored.push(...(await odin.publish(PRICE, 'after')));
      await untilState(client, 'fallback');
      await untilAll(client, stored, price);
      expect(price.from(stored[0])).toEqual(stored);
    });
  });

  test('that drains a stream is left, and nothing is missing', async () => {
    const client = odin.client({ ...quick, transports: ['events'], random: () => 0 });
    const price = record(client, 'price:BTC');
    const stored = await odin.publish(PRICE, 'at the begin');
    await untilAll(client, stored, price);
    const before = (client.state as { connectionId: string }).connectionId;
    const connections = (await odin.order('connections')).connections as number[];
    const index = connections.findIndex((count) => count > 0);
    await odin.order('balance', { only: 1 - index });
    await odin.order('drain_gateway', { index });
    const moved = untilState(client, 'fallback', (state) => 'connectionId' in state && state.connectionId !== before);
    stored.push(...(await publishUntil(odin, PRICE, moved)));
    stored.push(...(await odin.publish(PRICE, 'there')));
    await untilAll(client, stored, price);
    expect(price.from(stored[0])).toEqual(stored);
  });
});
