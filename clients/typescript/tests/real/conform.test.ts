import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { connect, type Odin } from '../../src/index.js';

const { ODIN_DEVKIT } = process.env;

interface Scenario {
  name: string;
  url: string;
  subscribe: string[];
  tokens: boolean;
  publish: number;
}

/** What only a platform shows that lets a client see HTTP answers; the WebSocket of browsers does not. */
const NOT_OF_BROWSERS = ['stays_away_refused', 'honours_retry_after'];

/**
 * `odin-devkit conform` plays a gateway and compares what the client does with `docs/protocol.md`. This is the adapter
 * that tells it what the application got.
 */
describe.skipIf(!ODIN_DEVKIT)('keeps to the protocol', () => {
  const clients: Odin[] = [];
  afterAll(() => clients.forEach((odin) => odin.close()));

  test.each(['json', 'msgpack'] as const)('in %s', { timeout: 900_000 }, async (codec) => {
    const skip = ['--skip', 'refused_handshake,retry_after'];
    const waits = ['--backoff-base-ms', '100', '--backoff-cap-ms', '2000'];
    const child = spawn(ODIN_DEVKIT!, ['conform', '--adapter', '--json', ...skip, ...waits], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout });
    const tell = (scenario: string, got: string, more: object = {}) =>
      child.stdin.writable && child.stdin.write(`${JSON.stringify({ scenario, got, ...more })}\n`);

    const play = ({ name, url, subscribe, tokens, publish }: Scenario) => {
      let count = 0;
      const odin = connect({
        ...{ url, codec, WebSocket, transports: ['websocket'], backoffBaseMs: 100, backoffCapMs: 2_000 },
        ...(tokens && { token: () => `token-${(count += 1)}` }),
      });
      clients.push(odin);
      odin.on('update', ({ channel, seq }) => tell(name, 'update', { channel, seq }));
      odin.on('gap', ({ channel }) => tell(name, 'gap', { channel }));
      odin.on('begin', ({ channel, anew }) => anew && tell(name, 'loss', { channel }));
      odin.on('stale', () => tell(name, 'stale'));
      odin.on('live', () => tell(name, 'live'));
      odin.on('state', ({ status }) => status === 'closed' && tell(name, 'closed'));
      for (const channel of subscribe) odin.subscribe(channel);
      for (let number = 0; number < publish; number += 1) {
        odin.publish('chat:lobby', { number }).catch(() => undefined);
      }
    };

    const report = await new Promise<Record<string, unknown>>((resolve, reject) => {
      let last: Record<string, unknown> = {};
      lines.on('line', (line) => {
        last = JSON.parse(line) as Record<string, unknown>;
        if (Array.isArray(last.scenarios)) (last.scenarios as Scenario[]).forEach(play);
      });
      child.once('error', reject);
      child.once('close', () => resolve(last));
    });
    const behaviours = report.behaviours as { name: string; verdict: string; detail: string }[];
    const bad = behaviours.filter(({ name, verdict }) => verdict !== 'shown' && !NOT_OF_BROWSERS.includes(name));
    expect(bad, JSON.stringify(bad, null, 1)).toEqual([]);
  });
});
