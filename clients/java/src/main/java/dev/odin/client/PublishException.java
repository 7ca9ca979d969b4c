package dev.odin.client;

import dev.odin.client.protocol.ErrorCode;

/** A publication was not stored, or may not have been. The message never repeats the data. */
public final class PublishException extends Exception {
    private static final long serialVersionUID = 1;

    /** What became of it. */
    public enum Kind {
        /** Channel or data cannot be published; nothing was sent. */
        INVALID,
        /** The gateway does not read messages of this size; nothing was sent. */
        TOO_BIG,
        /** As many wait already as may; nothing was sent. */
        BUSY,
        /** The gateway did not take it: it is not stored. */
        REFUSED,
        /** No answer came, or the gateway could not tell: it may be stored or not. It is not sent again by itself. */
        UNKNOWN,
        /** The client has ended; nothing was sent. */
        CLOSED
    }

    private final Kind kind;
    private final ErrorCode code;
    private final long retryAfterMs;

    PublishException(Kind kind, String message) {
        this(kind, message, null, 0);
    }

    PublishException(Kind kind, String message, ErrorCode code, long retryAfterMs) {
        super(message);
        this.kind = kind;
        this.code = code;
        this.retryAfterMs = retryAfterMs;
    }

    static PublishException unknown() {
        return new PublishException(Kind.UNKNOWN, "no answer: it may be stored or not");
    }

    /**
     * What became of the publication.
     *
     * @return never {@code null}
     */
    public Kind kind() {
        return kind;
    }

    /**
     * Why the gateway refused.
     *
     * @return {@code null} unless it did
     */
    public ErrorCode code() {
        return code;
    }

    /**
     * When the same may succeed.
     *
     * @return in milliseconds; 0 if the gateway did not say
     */
    public long retryAfterMs() {
        return retryAfterMs;
    }
}
