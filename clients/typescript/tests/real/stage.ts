/**
 * A real odin: `odin-devkit stage` starts NATS, gateways and a balancer in front of them, and does to them what a test
 * asks for. `ODIN_DEVKIT` and `ODIN_GATEWAY` name the programs; without them these tests are skipped, and say so.
 */

import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { connect, type ConnectOptions, type Gap, type Odin, type State, type Update } from '../../src/index.js';

const { ODIN_DEVKIT, ODIN_GATEWAY } = process.env;

/** Why these tests cannot run; undefined if they can. */
export const missing = ODIN_DEVKIT && ODIN_GATEWAY ? undefined : 'ODIN_DEVKIT and ODIN_GATEWAY name no programs';

/** Secret of tokens, for gateways that are started with {@link SIGN_IN}. */
const SECRET = 'a-secret-of-32-bytes-for-tests-only';
export const SIGN_IN = ['--auth-algorithms', 'HS256', '--auth-hs256-secret', SECRET, '--auth-leeway', '0s'];

/** A token of this user that lives so long. */
export function jwt(sub: string, lifeS: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + lifeS })}`;
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
}

/** A file with a configuration, for `--config`. */
export function configFile(toml: string): string {
  const file = join(mkdtempSync(join(tmpdir(), 'odin-client-')), 'odin.toml');
  writeFileSync(file, toml);
  return file;
}

/** A running stage. */
export interface Stage {
  /** Where clients connect. */
  url: string;
  /** A client of it. */
  client(options?: Partial<ConnectOptions>): Odin;
  /** Gives an order; rejects if it cannot be carried out. */
  order(what: string, more?: object): Promise<Record<string, unknown>>;
  /** Stores publications one after the other; gives their sequences. */
  publish(subject: string, ...data: unknown[]): Promise<number[]>;
  /** Ends all clients, and undoes what orders have changed, so that the next test finds it as it was. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a stage with two gateways, and what `ws-gateway` takes. */
export async function stage(gatewayOptions: string[] = [], stageOptions: string[] = []): Promise<Stage> {
  const args = ['stage', '--gateway', ODIN_GATEWAY!, ...stageOptions, '--', ...gatewayOptions];
  const child = spawn(ODIN_DEVKIT!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const answers = new Map<number, (answer: Record<string, unknown>) => void>();
  const clients: Odin[] = [];
  let lastId = 0;

  const { balancer } = await new Promise<{ balancer: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the stage ended with ${code}`)));
    lines.once('line', (line) => resolve(JSON.parse(line) as { balancer: string }));
  });
  lines.on('line', (line) => {
    const answer = JSON.parse(line) as Record<string, unknown>;
    answers.get(answer.id as number)?.(answer);
  });

  const order: Stage['order'] = (what, more = {}) =>
    new Promise((resolve, reject) => {
      const id = (lastId += 1);
      answers.set(id, (answer) =>
        answer.ok ? resolve(answer) : reject(new Error(`${what}: ${String(answer.error)}`)),
      );
      child.stdin.write(`${JSON.stringify({ id, do: what, ...more })}\n`);
    });

  return {
    url: `ws://${balancer}/ws`,
    client(options = {}) {
      const odin = connect({
        url: `ws://${balancer}/ws`,
        WebSocket,
        backoffBaseMs: 100,
        backoffCapMs: 1_000,
        ...options,
      });
      clients.push(odin);
      return odin;
    },
    order,
    async publish(subject, ...data) {
      const seqs: number[] = [];
      for (const one of data) seqs.push((await order('publish', { subject, data: one })).seq as number);
      return seqs;
    },
    async heal() {
      for (const odin of clients.splice(0)) odin.close();
      await order('balance', { only: null });
      await order('block_websocket', { on: false });
      await order('pause_traffic', { on: false });
      await order('cut');
      for (const [what, more] of [
        ['start_nats'],
        ['start_gateway', { index: 0 }],
        ['start_gateway', { index: 1 }],
      ] as const) {
        // it may be running
        await order(what, more).catch(() => undefined);
      }
    },
    async stop() {
      for (const odin of clients) odin.close();
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.end();
      await ended;
    },
  };
}

/** Waits until something holds, looking at it after each event of the client and now and then. */
export function until(odin: Odin, what: string, holds: () => boolean, limitMs = 30_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const events = ['state', 'update', 'gap', 'begin', 'end', 'stale', 'live', 'error', 'system', 'auth'] as const;
    const offs = events.map((event) => odin.on(event, () => setImmediate(look)));
    const done = () => {
      clearTimeout(timer);
      clearInterval(ticks);
      offs.forEach((off) => off());
    };
    // a checkpoint is no event
    const ticks = setInterval(() => look(), 50);
    const timer = setTimeout(() => {
      done();
      reject(new Error(`not within ${limitMs} ms: ${what}; ${JSON.stringify(odin.state)}`));
    }, limitMs);
    const look = () => {
      if (!holds()) return;
      done();
      resolve();
    };
    look();
  });
}

/** Waits for a state. */
export const untilState = (odin: Odin, status: State['status'], also: (state: State) => boolean = () => true) =>
  until(odin, status, () => odin.state.status === status && also(odin.state));

/** Everything that one subscription was given. */
export interface History {
  channel: string;
  seqs: number[];
  values: unknown[];
  gaps: Gap[];
  updates: Update[];
  /** Where it could be resumed. */
  cursor(): string | undefined;
  /** The sequences from this one on. */
  from(seq: number | undefined): number[];
}

/** Records a channel; of a pattern only `price:BTC`, for there is no order between channels. */
export function record(
  odin: Odin,
  channel: string,
  options: Parameters<Odin['subscribe']>[2] = { mode: 'all' },
): History {
  const history: History = {
    channel,
    seqs: [],
    values: [],
    gaps: [],
    updates: [],
    cursor: () => sub.cursor,
    from: (seq) => history.seqs.slice(history.seqs.indexOf(seq ?? -1)),
  };
  const sub = odin.subscribe<unknown>(
    channel,
    (update) => {
      if (channel.endsWith('*') && update.channel !== 'price:BTC') return;
      history.updates.push(update);
      history.seqs.push(update.seq);
      history.values.push(update.data);
    },
    options,
  );
  sub.on('gap', (gap) => history.gaps.push(gap));
  return history;
}

/** Waits until all of them could be resumed: what has no position yet begins anew, and the gateway says what that costs. */
export const untilResumable = (odin: Odin, ...histories: History[]) =>
  until(odin, 'positions', () => histories.every((history) => history.cursor() !== undefined));

/** Waits until all of them have come to the last of what is stored. */
export const untilAll = (odin: Odin, stored: number[], ...histories: History[]) =>
  until(odin, `everything up to ${stored.at(-1)}`, () => histories.every(({ seqs }) => seqs.at(-1) === stored.at(-1)));

/** Stores something, until `done`, and gives its sequences. */
export async function publishUntil(stage: Stage, subject: string, done: Promise<unknown>): Promise<number[]> {
  const stored: number[] = [];
  let isDone = false;
  const watched = done.finally(() => (isDone = true));
  watched.catch(() => undefined);
  while (!isDone) {
    stored.push(...(await stage.publish(subject, 'meanwhile')));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await watched;
  return stored;
}
