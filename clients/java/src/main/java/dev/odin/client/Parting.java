package dev.odin.client;

import dev.odin.client.protocol.CloseCode;
import dev.odin.client.protocol.Reconnect;
import java.util.Set;

/**
 * Why there is no connection, and whether to come back.
 *
 * @param kind what happened
 * @param code close code or HTTP status, -1 if there was none
 * @param text for people: the gateway's or the system's words, without what could steer a terminal
 * @param retryAfterMs least time to wait, whatever the back-off draws
 * @param auth why the client could not sign in; {@code null} otherwise
 */
public record Parting(Kind kind, int code, String text, long retryAfterMs, AuthFailure auth) {
    /** HTTP answers after which trying again meets the same answer. */
    private static final Set<Integer> HOPELESS = Set.of(400, 401, 403, 404, 405, 414, 426, 431);

    /** What happened. */
    public enum Kind {
        /** The application asked for it. */
        ASKED,
        /** The gateway sent a close frame. */
        CLOSED,
        /** The gateway was draining and did not close in the time it gave itself. */
        DRAINED,
        /** Nothing came for twice the heartbeat. */
        SILENT,
        /** No hello within the connect timeout. */
        TIMEOUT,
        /** The connection broke or could not be made. */
        BROKEN,
        /** The gateway does not read what is sent. */
        NOT_READING,
        /** The handshake was answered with another status than 101. */
        STATUS,
        /** The other side does not speak the protocol. */
        PROTOCOL,
        /** The client could not sign in. */
        NOT_SIGNED_IN
    }

    static Parting of(Kind kind, String text) {
        return new Parting(kind, -1, text, 0, null);
    }

    static Parting closed(int code, String reason) {
        return new Parting(Kind.CLOSED, code, Text.printable(reason), 0, null);
    }

    static Parting status(int status, long retryAfterMs) {
        String text = "handshake answered with status " + status;
        return new Parting(Kind.STATUS, status, text, Backoff.asked(retryAfterMs), null);
    }

    static Parting notSignedIn(AuthFailure why) {
        return new Parting(Kind.NOT_SIGNED_IN, -1, why.toString(), why.retryAfterMs(), why);
    }

    /**
     * Whether and how fast to come back.
     *
     * @return what the protocol says
     */
    public Reconnect reconnect() {
        switch (kind) {
            case ASKED:
                return Reconnect.NEVER;
            case CLOSED:
                return Reconnect.forCode(code);
            case STATUS:
                return HOPELESS.contains(code) ? Reconnect.NEVER : Reconnect.LATER;
            case PROTOCOL:
                return Reconnect.LATER;
            case NOT_SIGNED_IN:
                if (auth.isFinal()) {
                    return Reconnect.NEVER;
                }
                return auth.kind() == AuthFailure.Kind.REFUSED ? Reconnect.LATER : Reconnect.SOON;
            default:
                return Reconnect.SOON;
        }
    }

    boolean is(CloseCode expected) {
        return kind == Kind.CLOSED && code == expected.code();
    }

    @Override
    public String toString() {
        if (kind != Kind.CLOSED) {
            return text;
        }
        String reason = text.isEmpty() ? "" : " (" + text + ")";
        return "closed by the gateway: " + code + reason;
    }
}
