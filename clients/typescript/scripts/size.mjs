// Prints what the client adds to a page: bundled, minified, and gzipped, without and with MessagePack.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const input = fileURLToPath(new URL('../src/index.ts', import.meta.url));
const bundle = await rolldown({ input });
const { output } = await bundle.generate({ format: 'es', minify: true });
const chunks = output.filter((file) => file.type === 'chunk');

const sizes = chunks.map(({ isEntry, code }) => ({
  isEntry,
  bytes: code.length,
  gzip: gzipSync(code).length,
}));
const client = sizes.find((chunk) => chunk.isEntry);
const all = sizes.reduce((sum, { bytes, gzip }) => ({ bytes: sum.bytes + bytes, gzip: sum.gzip + gzip }), {
  bytes: 0,
  gzip: 0,
});
const line = (name, { bytes, gzip }) => console.log(`${name.padEnd(16)} ${bytes} bytes, ${gzip} gzipped`);
line('client', client);
line('with msgpack', all);

const LIMIT = 12_000;
if (client.gzip > LIMIT) {
  console.error(`more than ${LIMIT} bytes`);
  process.exitCode = 1;
}
