package dev.odin.client.protocol;

import java.util.Locale;

/** Why values may be old; the table is in {@code docs/protocol.md}. */
public enum StaleReason {
    /** The gateway has no connection to the stream. */
    BUS_LOST,
    /** The gateway is connected but cannot prove that it has everything. */
    UNVERIFIED,
    /** The source of the channel was silent for longer than its rule allows. */
    FEED_SILENT,
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

    static StaleReason of(String wire) {
        return Names.of(values(), wire, UNKNOWN);
    }
}
