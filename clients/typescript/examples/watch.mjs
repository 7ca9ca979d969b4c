// Watches channels in the terminal, over whatever connects: WebSocket, server-sent events or polls.
//
//   npm run build
//   node examples/watch.mjs ws://127.0.0.1:8080/ws 'price:*'
//
// ODIN_TOKEN signs in with that token. ODIN_TRANSPORTS=poll tries only those ways.

import { connect } from '../dist/index.js';

const [url = 'ws://127.0.0.1:8080/ws', ...channels] = process.argv.slice(2);

// Node has a WebSocket of its own from version 22 on
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket;

const { ODIN_TOKEN, ODIN_TRANSPORTS } = process.env;
const odin = connect({
  url,
  WebSocket,
  ...(ODIN_TOKEN && { token: () => ODIN_TOKEN }),
  ...(ODIN_TRANSPORTS && { transports: ODIN_TRANSPORTS.split(',') }),
});

const say = (what, event) => console.log(what.padEnd(8), JSON.stringify(event));

odin.on('state', (state) => say('state', state));
for (const event of ['begin', 'gap', 'stale', 'live', 'system', 'auth', 'end']) {
  odin.on(event, (value) => say(event, value));
}
odin.on('error', ({ code, message, channel }) => say('error', { code, message, channel }));

for (const channel of channels.length ? channels : ['price:*']) {
  odin.subscribe(channel, ({ channel, seq, snapshot, data }) => say('update', { channel, seq, snapshot, data }));
}

process.once('SIGINT', () => odin.close());
