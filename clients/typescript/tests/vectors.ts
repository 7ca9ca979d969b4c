/** The golden vectors that all implementations share. */

import { readFileSync } from 'node:fs';

/** Reads one file of `crates/protocol/vectors`. */
export function vectors<T>(file: string): T[] {
  const path = new URL(`../../../crates/protocol/vectors/${file}`, import.meta.url);
  const cases = JSON.parse(readFileSync(path, 'utf8')) as T[];
  if (cases.length === 0) throw new Error(`${file} is empty`);
  return cases;
}
