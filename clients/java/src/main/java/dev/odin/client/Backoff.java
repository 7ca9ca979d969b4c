package dev.odin.client;

import java.util.Random;

/**
 * How long to wait before the next try: full jitter, so that a fleet of clients never returns in step.
 *
 * <p>The wait is drawn anew each time from 0 to min(cap, base × 2<sup>n</sup>), n being the tries since the connection
 * was last stable. It knows no clock.
 */
final class Backoff {
    /** Longest first wait, in milliseconds. */
    static final long DEFAULT_BASE_MS = 500;
    /** Longest wait of all, in milliseconds. */
    static final long DEFAULT_CAP_MS = 30_000;
    /** Longest wait that the other side may ask for. */
    private static final long MAX_ASKED_MS = 600_000;
    /** The step a "come back later" starts at: waits of up to 16 × base, by default 8 s. */
    private static final int LATER_STEP = 4;
    /** Beyond it no cap of sense is left unreached, and no sum overflows. */
    private static final int MAX_STEP = 30;

    private final long baseMs;
    private final long capMs;
    private int step;

    Backoff(long baseMs, long capMs) {
        this.baseMs = baseMs;
        this.capMs = capMs;
    }

    /** Another one that begins at the shortest wait. */
    Backoff anew() {
        return new Backoff(baseMs, capMs);
    }

    /** The longest the next wait can be. */
    long ceilingMs() {
        return Math.min(capMs, baseMs << Math.min(step, MAX_STEP));
    }

    /** Draws the next wait and goes one step on. */
    long draw(Random random) {
        long ceiling = ceilingMs();
        step = Math.min(step + 1, MAX_STEP);
        return uniform(random, ceiling);
    }

    /** The other side asked for patience: the next wait is at least of the fifth step. */
    void bePatient() {
        step = Math.max(step, LATER_STEP);
    }

    /** The connection has been stable: the next wait is short again. */
    void reset() {
        step = 0;
    }

    /** What the other side asks to wait, within reason: nothing that it says stops the client for good. */
    static long asked(Long millis) {
        return millis == null ? 0 : Math.max(0, Math.min(MAX_ASKED_MS, millis));
    }

    /** A time between zero and {@code ceilingMs}, both included. */
    static long uniform(Random random, long ceilingMs) {
        return (long) (random.nextDouble() * (ceilingMs + 1));
    }
}
