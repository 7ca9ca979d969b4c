package dev.odin.client;

/**
 * What to do next without a connection.
 *
 * @param kind whether to connect again
 * @param afterMs the wait before it
 */
record Plan(Kind kind, long afterMs) {
    /** Whether to connect again. */
    enum Kind {
        DIAL,
        /** When something is subscribed. */
        SLEEP,
        /** Never again. */
        END
    }
}
