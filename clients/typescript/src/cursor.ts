/**
 * Cursors, version 1: a position of the stream as a text. A client hands them back as they came; it writes one itself
 * only from an update of an exact channel.
 */

import type { UpdateMessage } from './message.js';

/** Longest cursor that a gateway takes, in bytes. */
export const MAX_CURSOR_BYTES = 64;

/** The position of an update, fit for `since` of its own channel where that is no pattern and has no `key`. */
export const cursorOf = (update: Pick<UpdateMessage, 'epoch' | 'seq' | 'ts'>): string =>
  `1.${update.epoch}.${update.seq}.${update.ts}`;
