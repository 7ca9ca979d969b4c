// A client of odin for Artillery: its WebSocket engine connects, the rest is here, because an engine that sends a
// message and waits for an answer cannot hold a stream to its promises.
//
// Variables of a scenario: `hold`, seconds that a client stays; or `total`, seconds after the begin until which all
// stay; `storms`, moments in seconds after the begin at which all lose their connection and resume; `tokens`.

const began = Date.now();
let next = 0;

const COUNTS = ['updates', 'lost', 'repeated', 'gaps', 'errors', 'unasked_closes', 'recovered', 'not_recovered', 'failed'];

/** Notes the moment of the connect. */
export function arrive(wsArgs, context, done) {
  context.vars.connectBegan = Date.now();
  done();
}

/** What a client knows of its channel: `docs/protocol.md`, "What a client does with each message". */
class Chain {
  last = 0;
  epoch = null;
  isOpen = true;
  isSettled = true;
  cursor = null;

  begin(message) {
    this.isSettled = false;
    if (!message.recovered) this.isOpen = true;
    if (message.reason === 'epoch_changed' || message.reason === 'rolled_back') this.epoch = null;
  }

  update(message, count) {
    const isSame = message.epoch === this.epoch;
    if (isSame && message.seq <= this.last) {
      if (this.isSettled) count('repeated');
      return false;
    }
    const isCompared = isSame && !this.isOpen && !message.snapshot && message.prev !== undefined;
    if (isCompared && message.prev > this.last) count('lost');
    count('updates');
    Object.assign(this, { last: message.seq, epoch: message.epoch, isOpen: false, isSettled: true });
    this.cursor = `1.${message.epoch}.${message.seq}.${message.ts}`;
    return true;
  }
}

/** Subscribes on the connection there is, comes back when it is lost, and leaves when its time is over. */
export function stay(context, events, done) {
  const { vars } = context;
  const Socket = context.ws.constructor;
  const { url } = context.ws;
  const tokens = Number(vars.tokens || 100);
  const channel = `price:T${next++ % tokens}`;
  const chain = new Chain();
  const endAt = vars.total ? began + vars.total * 1000 : Date.now() + (vars.hold || 10) * 1000;
  const count = (name, by = 1) => events.emit('counter', `odin.${name}`, by);
  const time = (name, ms) => events.emit('histogram', `odin.${name}_ms`, ms);
  // A bar needs its figure, and nothing lost is a figure too.
  COUNTS.forEach((name) => count(name, 0));
  const timers = new Set();
  const later = (ms, what) => timers.add(setTimeout(what, Math.max(0, ms)));
  let socket;
  let tries = 0;
  let lostAt = 0;
  let isOver = false;
  let isMoving = false;

  const serve = (opened, connectBegan) => {
    socket = opened;
    let liveAt = 0;
    const now = Date.now();
    time('connect', now - connectBegan);
    const entry = { channel, mode: 'all' };
    if (chain.cursor) entry.since = chain.cursor;
    socket.send(JSON.stringify({ type: 'subscribe', id: 1, channels: [entry] }));
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 'update') {
        if (!chain.update(message, count)) return;
        // What was stored before the client was there is old by its own absence.
        if (!message.snapshot && liveAt && message.ts > liveAt && message.data.timestamp) {
          time('delivery', Date.now() - message.data.timestamp);
        }
      } else if (message.type === 'subscribed') {
        liveAt = Date.now();
        tries = 0;
        if (entry.since) count(message.recovered ? 'recovered' : 'not_recovered');
        chain.begin(message);
        time('ready', liveAt - connectBegan);
        if (lostAt) time('back', liveAt - lostAt);
        lostAt = 0;
      } else if (message.type === 'gap') {
        count('gaps');
        chain.last = Math.max(chain.last, message.until);
        chain.cursor = null;
      } else if (message.type === 'error') {
        count('errors');
      }
    });
    socket.on('close', () => {
      if (isOver) return;
      if (!isMoving) count('unasked_closes');
      lostAt ||= Date.now();
      comeBack();
    });
  };

  const comeBack = () => {
    // Full jitter: from 0 to min(30 s, 0.5 s * 2^n). A storm is without, that is what makes it one.
    const wait = isMoving ? 0 : Math.random() * Math.min(30000, 500 * 2 ** tries);
    isMoving = false;
    tries += 1;
    later(wait, () => {
      const connectBegan = Date.now();
      const opened = new Socket(url, ['odin.v1.json']);
      let isOpen = false;
      opened.on('open', () => {
        isOpen = true;
        serve(opened, connectBegan);
      });
      opened.on('error', () => {
        if (isOpen || isOver) return;
        count('failed');
        comeBack();
      });
    });
  };

  serve(context.ws, vars.connectBegan);
  for (const at of String(vars.storms || '').split(' ').filter(Boolean)) {
    const wait = began + Number(at) * 1000 - Date.now();
    if (wait > 0) {
      later(wait, () => {
        isMoving = true;
        socket.terminate();
      });
    }
  }
  later(endAt - Date.now(), () => {
    isOver = true;
    timers.forEach(clearTimeout);
    context.ws = socket;
    done();
  });
}
