package dev.odin.client;

import dev.odin.client.protocol.ErrorCode;

/**
 * Why a token was of no use. It never shows one.
 *
 * @param kind what happened
 * @param code the gateway's code; {@code null} unless it refused
 * @param message for people
 * @param retryAfterMs what the gateway asks to wait, 0 if it does not
 */
public record AuthFailure(Kind kind, ErrorCode code, String message, long retryAfterMs) {
    /** What happened. */
    public enum Kind {
        /** The source had none. */
        NO_TOKEN,
        /** The gateway did not accept it. */
        REFUSED,
        /** The gateway did not answer. */
        UNANSWERED
    }

    /**
     * Whether another token will not help: the user may not do this at all.
     *
     * @return whether it was {@code forbidden}
     */
    public boolean isFinal() {
        return code == ErrorCode.FORBIDDEN;
    }

    boolean mayRetry() {
        return code != null && code.mayRetry();
    }

    @Override
    public String toString() {
        return code == null ? message : code.wire() + ": " + message;
    }
}
