/**
 * Whether a silent connection is still there.
 *
 * After one and a half heartbeats without a sign it asks; after two it gives up, but never earlier than half a heartbeat
 * after it has asked: timers of a hidden page or of a machine that slept run late, and lateness proves nothing.
 */

import type { Clock } from './options.js';

/** Bounds of the heartbeat a gateway may name, in milliseconds. */
const [MIN_MS, MAX_MS] = [10, 600_000];
/** How long a connection has to answer when there is reason to doubt it. */
const DOUBT_MS = 5_000;

/** See the file. */
export interface Heartbeat {
  /** Something came. */
  heard(): void;
  /** There is reason to doubt the connection: asks at once, and waits 5 s at most. */
  doubt(): void;
  stop(): void;
}

/**
 * Begins to listen. `ask` sends a ping and says whether that was possible; where it is not, doubt needs a silence of two
 * heartbeats as well.
 */
export function startHeartbeat(clock: Clock, heartbeatMs: number, ask: () => boolean, dead: () => void): Heartbeat {
  const beat = Math.min(Math.max(heartbeatMs, MIN_MS), MAX_MS);
  let heardAt = clock.monotonic();
  let deadAt: number | undefined;
  let timer: unknown;

  const arm = (at: number) => {
    clock.clearTimeout(timer);
    timer = clock.setTimeout(tick, Math.max(1, at - clock.monotonic()));
  };
  const suspect = (at: number) => {
    deadAt = at;
    arm(at);
  };
  const tick = () => {
    const now = clock.monotonic();
    if (deadAt !== undefined && now >= deadAt) return dead();
    if (deadAt !== undefined) return arm(deadAt);
    if (now < heardAt + 1.5 * beat) return arm(heardAt + 1.5 * beat);
    ask();
    suspect(Math.max(heardAt + 2 * beat, now + 0.5 * beat));
  };
  arm(heardAt + 1.5 * beat);
  return {
    heard() {
      heardAt = clock.monotonic();
      deadAt = undefined;
    },
    doubt() {
      const now = clock.monotonic();
      const canAsk = ask();
      if (canAsk || now >= heardAt + 2 * beat)
        suspect(Math.min(deadAt ?? Infinity, now + Math.min(DOUBT_MS, beat / 2)));
    },
    stop: () => clock.clearTimeout(timer),
  };
}
