package dev.odin.client.protocol;

import java.util.Locale;

/** What a gateway says about itself; the table is in {@code docs/protocol.md}. */
public enum SystemState {
    /** The gateway is about to close this connection with 1012. */
    DRAINING,
    /** The token expires soon: send {@code auth} with a fresh one. */
    TOKEN_EXPIRING,
    /** A message from the operators to people. */
    NOTICE,
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

    static SystemState of(String wire) {
        return Names.of(values(), wire, UNKNOWN);
    }
}
