/**
 * PNGs with a palette of 256 colours: a picture of a page has few, and is a third of the size then.
 */

import { crc32, deflateSync, inflateSync } from "node:zlib";

const COLOURS = 256;
/** Colours closer than this, squared, are not both in the palette. */
const TOO_CLOSE = 40;

type Colour = number;

/**
 * Writes a PNG again with a palette.
 *
 * @param png - as browsers make it: 8 bits, RGB or RGBA, not interlaced; transparency is lost
 */
export function withPalette(png: Buffer): Buffer {
  const { width, height, pixels } = decode(png);
  const counts = new Map<Colour, number>();
  for (const colour of pixels) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const palette = choose(counts);
  const indexes = new Map<Colour, number>();
  for (const colour of counts.keys()) indexes.set(colour, nearest(palette, colour));
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      rows[y * (width + 1) + 1 + x] = indexes.get(pixels[y * width + x] ?? 0) ?? 0;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const table = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([
    png.subarray(0, 8),
    chunk("IHDR", header),
    chunk("PLTE", table),
    chunk("IDAT", deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** The most frequent colours, but not two that look the same. */
function choose(counts: ReadonlyMap<Colour, number>): Colour[] {
  const palette: Colour[] = [];
  const left: Colour[] = [];
  for (const [colour] of [...counts].sort((a, b) => b[1] - a[1])) {
    if (palette.length >= COLOURS) break;
    if (palette.every((other) => distance(other, colour) >= TOO_CLOSE)) palette.push(colour);
    else left.push(colour);
  }
  return [...palette, ...left.slice(0, COLOURS - palette.length)];
}

function nearest(palette: readonly Colour[], colour: Colour): number {
  let best = 0;
  for (let index = 1; index < palette.length; index += 1) {
    if (distance(palette[index] ?? 0, colour) < distance(palette[best] ?? 0, colour)) best = index;
  }
  return best;
}

function distance(a: Colour, b: Colour): number {
  const red = (a >> 16) - (b >> 16);
  const green = ((a >> 8) & 255) - ((b >> 8) & 255);
  const blue = (a & 255) - (b & 255);
  return red * red + green * green + blue * blue;
}

function chunk(type: string, body: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), body]);
  const whole = Buffer.alloc(named.length + 8);
  whole.writeUInt32BE(body.length, 0);
  named.copy(whole, 4);
  whole.writeUInt32BE(crc32(named), named.length + 4);
  return whole;
}

function decode(png: Buffer): { width: number; height: number; pixels: Uint32Array } {
  const width = png.readUInt32BE(16);
  const height = png.readUInt32BE(20);
  const bytes = png[25] === 6 ? 4 : 3;
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const data = inflateSync(Buffer.concat(parts));
  const stride = width * bytes;
  const pixels = new Uint32Array(width * height);
  let above = Buffer.alloc(stride);
  for (let y = 0; y < height; y += 1) {
    const start = y * (stride + 1);
    const row = Buffer.from(data.subarray(start + 1, start + 1 + stride));
    unfilter(data[start] ?? 0, row, above, bytes);
    for (let x = 0; x < width; x += 1) {
      const at = x * bytes;
      pixels[y * width + x] = ((row[at] ?? 0) << 16) | ((row[at + 1] ?? 0) << 8) | (row[at + 2] ?? 0);
    }
    above = row;
  }
  return { width, height, pixels };
}

/** Undoes a row's filter (PNG, 9.2). */
function unfilter(filter: number, row: Buffer, above: Buffer, bytes: number): void {
  for (let at = 0; at < row.length; at += 1) {
    const left = at >= bytes ? (row[at - bytes] ?? 0) : 0;
    const up = above[at] ?? 0;
    const corner = at >= bytes ? (above[at - bytes] ?? 0) : 0;
    const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
    row[at] = ((row[at] ?? 0) + predicted) & 255;
  }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
