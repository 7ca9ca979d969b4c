// A client of odin for k6: subscribes, checks the chain of `prev`, measures how old updates are.
//
// It speaks JSON only, k6 has no MessagePack. Times are to the millisecond, and what a busy k6 adds is in them:
// `odin-swarm` is the one to compare gateways with.
import { WebSocket } from 'k6/websockets';
import { Counter, Rate, Trend } from 'k6/metrics';

export const URL = __ENV.ODIN_URL || 'ws://127.0.0.1:8080/ws';
const TOKENS = Number(__ENV.TOKENS || 100);
// Sockets of one VU: a VU costs megabytes, a socket does not.
export const PER_VU = Number(__ENV.PER_VU || 10);

const connectMs = new Trend('odin_connect', true);
const readyMs = new Trend('odin_ready', true);
const deliveryMs = new Trend('odin_delivery', true);
const backMs = new Trend('odin_back', true);
const connected = new Rate('odin_connected');
const dropped = new Rate('odin_dropped');
const recovered = new Rate('odin_recovered');
const unasked = new Counter('odin_unasked_closes');
const repeated = new Counter('odin_repeated');
const gaps = new Counter('odin_gaps');
const errors = new Counter('odin_errors');

/** What every run has to keep to; `more` adds to it or replaces. */
export function thresholds(more = {}) {
  return {
    odin_connect: ['p(50)<50', 'p(95)<200', 'p(99)<500'],
    odin_connected: ['rate>0.99'],
    odin_delivery: ['p(95)<500'],
    odin_dropped: ['rate<0.001'],
    odin_repeated: ['count<1'],
    odin_errors: ['count<1'],
    ...more,
  };
}

/** VUs for so many connections. */
export function vus(connections) {
  return Math.max(1, Math.ceil(connections / PER_VU));
}

/** What one client knows of one channel: `docs/protocol.md`, "What a client does with each message". */
class Chain {
  constructor(mode) {
    this.mode = mode;
    this.last = 0;
    this.epoch = null;
    this.isOpen = true;
    this.isSettled = true;
    this.cursor = null;
  }

  begin(message) {
    this.isSettled = false;
    if (!message.recovered) this.isOpen = true;
    if (message.reason === 'epoch_changed' || message.reason === 'rolled_back') this.epoch = null;
    this.mode = message.mode;
  }

  update(message) {
    const isSame = message.epoch === this.epoch;
    if (isSame && message.seq <= this.last) {
      if (this.isSettled) repeated.add(1);
      return false;
    }
    const isCompared = isSame && !this.isOpen && !message.snapshot && message.prev !== undefined;
    dropped.add(isCompared && message.prev > this.last && this.mode === 'all');
    this.last = message.seq;
    this.epoch = message.epoch;
    this.isOpen = false;
    this.isSettled = true;
    this.cursor = `1.${message.epoch}.${message.seq}.${message.ts}`;
    return true;
  }

  gap(message) {
    gaps.add(1);
    this.last = Math.max(this.last, message.until);
    this.cursor = null;
  }
}

/**
 * One client. `number` chooses its channel. It stays until `endAt` (milliseconds since 1970) and comes back as the
 * protocol says when it loses its connection.
 */
export class Client {
  constructor(number, { endAt, mode = 'all' }) {
    this.channel = `price:T${number % TOKENS}`;
    this.endAt = endAt;
    this.mode = mode;
    this.chain = new Chain(mode);
    this.tries = 0;
    this.lostAt = 0;
    this.connect();
  }

  connect() {
    const began = Date.now();
    const socket = new WebSocket(URL, 'odin.v1.json');
    this.socket = socket;
    this.isOpen = false;
    this.isLeaving = false;
    socket.onopen = () => {
      this.isOpen = true;
      connectMs.add(Date.now() - began);
      connected.add(true);
      const entry = { channel: this.channel, mode: this.mode };
      if (this.chain.cursor) entry.since = this.chain.cursor;
      this.resumes = entry.since !== undefined;
      socket.send(JSON.stringify({ type: 'subscribe', id: 1, channels: [entry] }));
    };
    socket.onmessage = (event) => this.message(JSON.parse(event.data), began);
    // Each failure ends with onclose too.
    socket.onerror = () => {
      if (!this.isOpen) connected.add(false);
    };
    socket.onclose = () => this.closed();
    this.timer = setTimeout(() => this.leave(), Math.max(0, this.endAt - began));
  }

  message(message, began) {
    if (message.type === 'update') {
      if (message.channel !== this.channel || !this.chain.update(message)) return;
      // What was stored before the client was there is old by its own absence.
      if (!message.snapshot && this.liveAt && message.ts > this.liveAt && message.data.timestamp) {
        deliveryMs.add(Date.now() - message.data.timestamp);
      }
    } else if (message.type === 'subscribed') {
      const now = Date.now();
      if (this.resumes) recovered.add(message.recovered);
      this.chain.begin(message);
      this.liveAt = now;
      readyMs.add(now - began);
      if (this.lostAt) backMs.add(now - this.lostAt);
      this.lostAt = 0;
      this.tries = 0;
    } else if (message.type === 'gap') {
      this.chain.gap(message);
    } else if (message.type === 'error') {
      errors.add(1);
    }
  }

  closed() {
    clearTimeout(this.timer);
    this.liveAt = 0;
    const now = Date.now();
    if (this.isLeaving || now >= this.endAt) return;
    if (this.isOpen && !this.isMoving) unasked.add(1);
    if (!this.lostAt && this.isOpen) this.lostAt = now;
    // Full jitter: from 0 to min(30 s, 0.5 s * 2^n).
    const wait = this.isMoving ? 0 : Math.random() * Math.min(30000, 500 * 2 ** this.tries);
    this.isMoving = false;
    this.tries += 1;
    if (now + wait < this.endAt) setTimeout(() => this.connect(), wait);
  }

  /** Ends the connection and comes back at once, as in a storm. */
  move() {
    if (!this.isOpen) return;
    this.isMoving = true;
    this.lostAt = Date.now();
    this.socket.close();
  }

  leave() {
    this.isLeaving = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}

/** The clients of one VU, `perVu` of them, spread over `spreadMs`. */
export function clients(vu, options, { perVu = PER_VU, spreadMs = 1000 } = {}) {
  const all = [];
  for (let at = 0; at < perVu; at += 1) {
    setTimeout(() => all.push(new Client((vu - 1) * perVu + at, options)), (at * spreadMs) / perVu);
  }
  return all;
}

/** Writes the summary where SUMMARY says, and a short one to the terminal. */
export function summary(data) {
  const lines = ['metric, p50, p95, p99 or rate or count'];
  for (const name of Object.keys(data.metrics).filter((key) => key.startsWith('odin_')).sort()) {
    const { values, thresholds: bars } = data.metrics[name];
    const figures = values['p(99)'] === undefined ? [values.rate === undefined ? values.count : values.rate]
      : [values.med, values['p(95)'], values['p(99)']];
    const failed = Object.entries(bars || {}).filter(([, bar]) => !bar.ok).map(([text]) => text);
    lines.push(`${name}: ${figures.map((figure) => Number(figure).toFixed(3)).join(', ')}${failed.length ? ` FAILED ${failed}` : ''}`);
  }
  const files = { stdout: `${lines.join('\n')}\n` };
  if (__ENV.SUMMARY) files[__ENV.SUMMARY] = JSON.stringify(data, null, 1);
  return files;
}

/** Percentiles that the summary has. */
export const TREND_STATS = ['min', 'med', 'avg', 'p(95)', 'p(99)', 'max', 'count'];
