// Prints what the client adds to a page: bundled, minified and gzipped. What is loaded only when it is needed is shown
// apart: the two fallbacks, and MessagePack.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const LIMIT = 12_500;

const input = fileURLToPath(new URL('../src/index.ts', import.meta.url));
const bundle = await rolldown({ input });
const { output } = await bundle.generate({ format: 'es', minify: true });
const chunks = new Map(output.filter(({ type }) => type === 'chunk').map((chunk) => [chunk.fileName, chunk]));

/** A chunk, and those that come with it. */
function whole(chunk, seen = new Set()) {
  if (seen.has(chunk)) return seen;
  seen.add(chunk);
  for (const name of chunk.imports) whole(chunks.get(name), seen);
  return seen;
}

const all = [...chunks.values()];
const client = whole(all.find(({ isEntry }) => isEntry));
const later = (name) => {
  const found = all.filter((chunk) => Object.keys(chunk.modules).some((file) => file.includes(name)));
  return new Set(found.flatMap((chunk) => [...whole(chunk)]).filter((chunk) => !client.has(chunk)));
};

function line(name, part) {
  const code = [...part].map((chunk) => chunk.code);
  const bytes = code.reduce((sum, text) => sum + text.length, 0);
  const gzip = code.reduce((sum, text) => sum + gzipSync(text).length, 0);
  console.log(`${name.padEnd(24)} ${String(bytes).padStart(6)} bytes, ${String(gzip).padStart(6)} gzipped`);
  return gzip;
}

const gzip = line('client', client);
line('+ events, when needed', later('/src/events.ts'));
line('+ polls, when needed', later('/src/poll.ts'));
line('+ MessagePack, if wanted', later('@msgpack/'));

if (gzip > LIMIT) {
  console.error(`the client is larger than ${LIMIT} bytes`);
  process.exitCode = 1;
}
