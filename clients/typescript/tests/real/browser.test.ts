import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, stage, type Stage } from './stage.js';

const { ODIN_CHROMIUM } = process.env;
const PRICE = 'odin.tokens.BTC.price';

/** What the page tells, one after the other. */
type Told = { status: string; transport?: string } | { seq: number } | { failed: string };

const PAGE = (url: string) => `<!doctype html><script type="module">
  import { connect } from '/index.js';
  let last = Promise.resolve();
  const tell = (what) => (last = last.then(() => fetch('/told', { method: 'POST', body: JSON.stringify(what) })));
  try {
    const quick = { connectTimeoutMs: 5000, probeMinMs: 200, probeMaxMs: 1000, backoffBaseMs: 100, backoffCapMs: 1000 };
    const odin = connect({ url: ${JSON.stringify(url)}, ...quick });
    odin.on('state', ({ status, transport }) => tell({ status, transport }));
    odin.on('gap', (gap) => tell({ failed: JSON.stringify(gap) }));
    odin.subscribe('price:BTC', ({ seq }) => tell({ seq }), { mode: 'all' });
  } catch (error) {
    tell({ failed: String(error) });
  }
</script>`;

/** A browser that is not there is told by the name of the program: `ODIN_CHROMIUM=/usr/bin/chromium`. */
describe.skipIf(missing ?? !ODIN_CHROMIUM)('in a real browser', () => {
  let odin: Stage;
  let server: Server;
  let browser: ChildProcess;
  let page = '';
  const profile = mkdtempSync(join(tmpdir(), 'odin-chromium-'));
  const told: Told[] = [];
  const listeners = new Set<() => void>();

  beforeAll(async () => {
    odin = await stage();
    const input = new URL('../../src/index.ts', import.meta.url).pathname;
    const { output } = await (await rolldown({ input })).generate({ format: 'es' });
    const files = new Map(output.map((file) => [`/${file.fileName}`, 'code' in file ? file.code : '']));
    server = createServer((request, response) => {
      if (request.url === '/told') {
        let text = '';
        request.on('data', (part: Buffer) => (text += part.toString()));
        request.on('end', () => {
          told.push(JSON.parse(text) as Told);
          listeners.forEach((listener) => listener());
          response.end();
        });
        return;
      }
      const code = files.get(request.url ?? '');
      response.writeHead(200, { 'Content-Type': code === undefined ? 'text/html' : 'text/javascript' });
      response.end(code ?? PAGE(odin.url));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    page = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(async () => {
    if (browser) {
      const gone = once(browser, 'exit');
      browser.kill();
      await gone;
    }
    server?.close();
    server?.closeAllConnections();
    await odin?.stop();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });

  const until = (what: string, holds: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${what}: ${JSON.stringify(told.slice(-5))}`)), 30_000);
      const look = () => {
        if (!holds()) return;
        clearTimeout(timer);
        listeners.delete(look);
        resolve();
      };
      listeners.add(look);
      look();
    });
  const status = () => told.findLast((what) => 'status' in what) as { status: string; transport?: string } | undefined;
  const seqs = () => told.flatMap((what) => ('seq' in what ? [what.seq] : []));

  test('goes from WebSocket to events and back, from a page of another origin, and nothing is missing', async () => {
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
    browser = spawn(ODIN_CHROMIUM!, [...args, ...quiet, `--user-data-dir=${profile}`, page], { stdio: 'ignore' });
    await until('connected', () => status()?.status === 'connected');
    const stored = await odin.publish(PRICE, 'at the begin');
    const all = () => until('everything', () => seqs().at(-1) === stored.at(-1));
    await all();
    await odin.order('block_websocket', { on: true });
    stored.push(...(await odin.publish(PRICE, 1, 2, 3)));
    await until('fallback', () => status()?.status === 'fallback');
    expect(status()).toEqual({ status: 'fallback', transport: 'events' });
    stored.push(...(await odin.publish(PRICE, 4, 5, 6)));
    await all();
    await odin.order('block_websocket', { on: false });
    await until('connected again', () => status()?.status === 'connected');
    stored.push(...(await odin.publish(PRICE, 7, 8, 9)));
    await all();
    expect(seqs().slice(seqs().indexOf(stored[0]!))).toEqual(stored);
    expect(told.filter((what) => 'failed' in what)).toEqual([]);
  });
});
