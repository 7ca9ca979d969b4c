import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { configFile, jwt, missing, record, SIGN_IN, stage, until, untilState, type Stage } from './stage.js';

/** A channel in which everybody who is signed in may speak. */
const CHAT = `
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

describe.skipIf(missing)('a real gateway that knows its users', () => {
  let odin: Stage;
  beforeAll(async () => {
    odin = await stage([...SIGN_IN, '--auth-expiry-warning', '1s', '--config', configFile(CHAT)]);
  });
  afterEach(() => odin.heal());
  afterAll(() => odin?.stop());

  test('serves what is the user’s own, and nobody else’s', async () => {
    const ada = odin.client({ token: () => jwt('ada', 60) });
    const bob = odin.client({ token: async () => Promise.resolve(jwt('bob', 60)) });
    const [of, her] = [record(bob, 'trades', {}), record(ada, 'trades', {})];
    await Promise.all([untilState(ada, 'connected'), untilState(bob, 'connected')]);
    await odin.publish('odin.users.ada.trades', 'hers');
    await odin.publish('odin.users.bob.trades', 'his');
    await until(ada, 'hers', () => her.values.length > 0);
    await until(bob, 'his', () => of.values.length > 0);
    expect([her.values, of.values]).toEqual([['hers'], ['his']]);
  });

  test('is told a fresh token before the old one expires, and nothing is disturbed', async () => {
    const token = vi.fn(() => jwt('ada', 4));
    const client = odin.client({ token });
    const refreshes: boolean[] = [];
    const statuses: string[] = [];
    client.on('auth', ({ refresh }) => refreshes.push(refresh));
    const trades = record(client, 'trades', {});
    await untilState(client, 'connected');
    client.on('state', ({ status }) => statuses.push(status));
    await until(client, 'three refreshes', () => refreshes.length >= 4);
    const [seq] = await odin.publish('odin.users.ada.trades', 'after a while');
    await until(client, 'a trade', () => trades.seqs.includes(seq!));
    expect(refreshes.slice(0, 4)).toEqual([false, true, true, true]);
    expect(statuses).toEqual([]);
    expect(token.mock.calls.length).toBeGreaterThanOrEqual(4);
  });

  test('that does not know a token is given another one, and then left for later', async () => {
    const tokens = ['nonsense', jwt('ada', 60)];
    const client = odin.client({ token: () => tokens.shift() ?? 'nonsense' });
    const errors: unknown[] = [];
    client.on('error', ({ code }) => errors.push(code));
    await untilState(client, 'connected');
    expect(errors).toEqual(['auth_failed']);
    const stranger = odin.client({ token: () => jwt('ada', -60) });
    await untilState(stranger, 'reconnecting');
    expect(stranger.state).toMatchObject({ reason: expect.stringMatching(/refused|auth_failed/) as string });
  });

  test('takes publications, in their order, and says no', async () => {
    const ada = odin.client({ token: () => jwt('ada', 60), codec: 'msgpack' });
    const anybody = odin.client();
    const lobby = record(anybody, 'chat:lobby', {});
    await untilState(anybody, 'connected');
    const published = [0, 1, 2, 3, 4].map((number) => ada.publish('chat:lobby', { number, text: 'é' }));
    const seqs = (await Promise.all(published)).map(({ seq }) => seq);
    expect([...seqs].sort((a, b) => a - b)).toEqual(seqs);
    await until(anybody, 'all of them', () => lobby.seqs.at(-1) === seqs.at(-1));
    expect(lobby.values.at(-1)).toEqual({ number: 4, text: 'é' });
    await expect(anybody.publish('chat:lobby', 1)).rejects.toMatchObject({ code: 'auth_required' });
    await expect(ada.publish('no:rule', 1)).rejects.toMatchObject({ code: 'unknown_channel' });
    await expect(ada.publish('trades', 1)).rejects.toMatchObject({ channel: 'trades' });
  });

  test('that dies with a publication under way leaves its outcome unknown', async () => {
    const ada = odin.client({ token: () => jwt('ada', 60) });
    await untilState(ada, 'connected');
    await odin.order('stop_nats');
    const outcome = ada.publish('chat:lobby', 'into the dark').catch((error: { code: string }) => error.code);
    await odin.order('cut');
    expect(await outcome).toBe('outcome_unknown');
  });
});
