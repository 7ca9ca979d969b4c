/**
 * Cursors: a position of the stream as a text. A client hands them back as they came; it writes one itself, in the form
 * of version 1, only from an update of an exact channel, and reads one only to know which of two is further.
 */

import type { Update } from './subscription.js';

/** Longest cursor that a gateway takes, in bytes. */
const MAX_BYTES = 64;

const VERSION_1 = /^1\.([0-9a-z]{8})\.(0|[1-9]\d*)\.(0|-?[1-9]\d*)$/;

/** A cursor of version 1, read. Beyond 2^53 the sequence is rounded: it serves comparisons. */
export interface Position {
  epoch: string;
  seq: number;
}

/** The position of an update, fit for `since` of its own channel where that is no pattern and has no `key`. */
export const cursorOf = (update: Pick<Update, 'epoch' | 'seq' | 'ts'>): string =>
  `1.${update.epoch}.${update.seq}.${update.ts}`;

/** Whether a gateway would take it back; its form is the gateway's affair. */
export const isCursor = (text: unknown): text is string =>
  typeof text === 'string' && text.length > 0 && text.length <= MAX_BYTES;

/** Reads a cursor of version 1; undefined for every other form. */
export function parseCursor(text: string): Position | undefined {
  const [, epoch, seq, ts] = VERSION_1.exec(text) ?? [];
  if (!isCursor(text) || epoch === undefined || seq === undefined || ts === undefined) return undefined;
  return fits(seq, 2n ** 64n) && fits(ts, 2n ** 63n) ? { epoch, seq: Number(seq) } : undefined;
}

const fits = (text: string, end: bigint): boolean => BigInt(text) < end && BigInt(text) >= -end;
