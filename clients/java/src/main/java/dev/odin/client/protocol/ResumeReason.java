package dev.odin.client.protocol;

import java.util.Locale;

/** Why a resume was not possible; the table is in {@code docs/protocol.md}. */
public enum ResumeReason {
    /** The cursor is not readable. */
    INVALID_CURSOR,
    /** The cursor belongs to another stream: it was created anew or restored. */
    EPOCH_CHANGED,
    /** The cursor lies beyond the end of the stream, or names another publication than the stream does. */
    ROLLED_BACK,
    /** The stream no longer keeps everything after the cursor. */
    CURSOR_TOO_OLD,
    /** More was missed than the gateway replays. */
    REPLAY_LIMIT,
    /** The gateway does not resume this channel. */
    UNSUPPORTED,
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

    static ResumeReason of(String wire) {
        return Names.of(values(), wire, UNKNOWN);
    }
}
