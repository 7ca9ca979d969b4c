/**
 * Pictures of the page. They go to the folder of `ODIN_SCREENSHOTS`, or where nobody keeps them.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateSync, inflateSync } from "node:zlib";
import type { Page } from "playwright-core";

const FOLDER = process.env.ODIN_SCREENSHOTS ?? join(tmpdir(), "odin-pictures");

/**
 * Takes a picture as `page-<state>.png`.
 *
 * @returns its size in bytes
 */
export async function picture(page: Page, state: string): Promise<number> {
  mkdirSync(FOLDER, { recursive: true });
  const small = shrink(await page.screenshot({ animations: "disabled" }));
  writeFileSync(join(FOLDER, `page-${state}.png`), small);
  return small.length;
}

/** Compresses a PNG again, as well as can be: browsers do it fast instead. */
function shrink(png: Buffer): Buffer {
  const kept: Buffer[] = [png.subarray(0, 8)];
  const pixels: Buffer[] = [];
  let at = 8;
  while (at < png.length) {
    const length = png.readUInt32BE(at);
    const type = png.toString("latin1", at + 4, at + 8);
    const chunk = png.subarray(at, at + 12 + length);
    at += chunk.length;
    if (type === "IDAT") pixels.push(chunk.subarray(8, 8 + length));
    else if (type === "IEND") kept.push(data(deflateSync(inflateSync(Buffer.concat(pixels)), { level: 9, memLevel: 9 })), chunk);
    else kept.push(chunk);
  }
  return Buffer.concat(kept);
}

function data(body: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from("IDAT", "latin1"), body]);
  const chunk = Buffer.alloc(named.length + 8);
  chunk.writeUInt32BE(body.length, 0);
  named.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(named), named.length + 4);
  return chunk;
}
