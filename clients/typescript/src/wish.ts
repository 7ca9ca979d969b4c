/**
 * What the application wants of one channel: the options on the wire, and the handles that share it.
 */

import { patternOf } from './channel.js';
import type { SubscribeEntry } from './message.js';
import type { Handle, Stale } from './subscription.js';

/** See the file. */
export interface Wish {
  readonly channel: string;
  /** As asked for; `since` until it was answered. */
  readonly entry: SubscribeEntry;
  readonly handles: Set<Handle>;
  /** Confirmed on the connection there is now. */
  isActive: boolean;
  /** What the gateway said of this channel alone. */
  stale: Stale | undefined;
}

/** Wishes by channel. */
export type Wishes = Map<string, Wish>;

/** The wishes that a concrete channel is for: itself, and the one pattern above it. */
export function wishesOf(wishes: Wishes, channel: string): Wish[] {
  const found = [wishes.get(channel), wishes.get(patternOf(channel))];
  return found.filter((wish) => wish !== undefined);
}
