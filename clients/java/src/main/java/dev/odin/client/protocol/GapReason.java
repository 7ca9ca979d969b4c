package dev.odin.client.protocol;

import java.util.Locale;

/** Why publications were left out; the table is in {@code docs/protocol.md}. */
public enum GapReason {
    /** The stream dropped them before the client had taken them. */
    RETENTION,
    /** The client fell further behind than the gateway replays. */
    REPLAY_LIMIT,
    /** They were deleted from the stream or had expired. */
    REMOVED,
    /** They were published but are not acceptable: not JSON, or too large. */
    INVALID,
    /** A name newer than this client. It has no special meaning. */
    UNKNOWN;

    /**
     * The name on the wire.
     *
     * @return in lower case, with underscores
     */
    public String wire() {
        return name().toLowerCase(Locale.ROOT);
    }

    static GapReason of(String wire) {
        return Names.of(values(), wire, UNKNOWN);
    }
}
