/**
 * Pictures of the page. They go to the folder of `ODIN_SCREENSHOTS`, or where nobody keeps them.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { withPalette } from "./png.ts";

const FOLDER = process.env.ODIN_SCREENSHOTS ?? join(tmpdir(), "odin-pictures");

/**
 * Takes a picture as `page-<state>.png`.
 *
 * @returns its size in bytes
 */
export async function picture(page: Page, state: string): Promise<number> {
  mkdirSync(FOLDER, { recursive: true });
  const small = withPalette(await page.screenshot({ animations: "disabled" }));
  writeFileSync(join(FOLDER, `page-${state}.png`), small);
  return small.length;
}
