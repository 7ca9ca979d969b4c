/**
 * One chain: the updates of one channel and key, each naming the one before it. It proves that nothing is missing. Which
 * subscription it belongs to, and what a jump means there, is for `positions.ts` to say.
 */

import { cursorOf, type Position } from './cursor.js';
import type { UpdateMessage } from './message.js';

/** How far a chain has come. */
export interface Chain {
  /** Everything up to here was delivered or announced as left out. */
  last: number;
  /** The last update delivered. */
  latest: UpdateMessage;
  /** Whether `latest` is a position to come back to: the gateway has not named a newer one. */
  isPosition: boolean;
  /** The next update begins the chain anew: there is nothing to compare it with. */
  isOpen: boolean;
  /** Not even its sequence can be compared: the stream was rolled back or is another one. */
  isForgotten: boolean;
}

/** What an update is to its chain: the next one, one that came before, or one with something missing before it. */
export type Verdict = 'next' | 'drop' | 'jump';

/** Begins a chain with the first update seen of it. */
export const startChain = (update: UpdateMessage): Chain => ({
  last: update.seq,
  latest: update,
  isPosition: true,
  isOpen: false,
  isForgotten: false,
});

/** Decides about the next update and moves on. */
export function accept(chain: Chain, update: UpdateMessage): Verdict {
  const { last } = chain;
  const isOther = chain.isForgotten || chain.latest.epoch !== update.epoch;
  if (!isOther && update.seq <= last) return 'drop';
  const isStart = isOther || chain.isOpen || update.snapshot === true || update.prev === undefined;
  chain.last = update.seq;
  chain.latest = update;
  chain.isPosition = true;
  chain.isOpen = chain.isForgotten = false;
  return isStart || update.prev! <= last ? 'next' : 'jump';
}

/** The gateway has named a position: it counts more than the last update, unless it is known to lie before it. */
export function supersede(chain: Chain, named: Position | undefined): void {
  const { epoch, seq } = chain.latest;
  chain.isPosition &&= named?.epoch === epoch && named.seq < seq;
}

/** The last update as a cursor, if nothing newer is known to come back to. */
export const chainCursor = (chain: Chain): string | undefined =>
  chain.isPosition && !chain.isForgotten ? cursorOf(chain.latest) : undefined;
