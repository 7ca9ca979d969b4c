package dev.odin.client.protocol;

/** The close codes of the protocol; their table is in {@code docs/protocol.md}. */
public enum CloseCode {
    /** The client asked for the end. */
    NORMAL(1000, Reconnect.NEVER),
    /** The gateway stops at once, without a drain. */
    GOING_AWAY(1001, Reconnect.SOON),
    /** A frame broke RFC 6455. */
    PROTOCOL_ERROR(1002, Reconnect.NEVER),
    /** A binary frame on a JSON connection or a text frame on a MessagePack one. */
    UNSUPPORTED_DATA(1003, Reconnect.NEVER),
    /** A text frame is not UTF-8. */
    INVALID_PAYLOAD(1007, Reconnect.NEVER),
    /** The client broke a rule that has no number of its own, or had more strikes than allowed. */
    POLICY_VIOLATION(1008, Reconnect.NEVER),
    /** A message is larger than {@code maxMessageBytes}. */
    MESSAGE_TOO_BIG(1009, Reconnect.NEVER),
    /** The gateway failed; the log has the cause. */
    INTERNAL_ERROR(1011, Reconnect.LATER),
    /** The gateway drains. Other gateways are ready: resume there. */
    SERVICE_RESTART(1012, Reconnect.SOON),
    /** The gateway is at a limit of its own. */
    TRY_AGAIN_LATER(1013, Reconnect.LATER),
    /** Nothing came from the client for the heartbeat limit. */
    HEARTBEAT_TIMEOUT(4000, Reconnect.SOON),
    /** The client took no bytes for the write limit. */
    NOT_READING(4001, Reconnect.LATER),
    /** The connection had no subscription for the idle limit. Come back when there is something to subscribe. */
    IDLE(4002, Reconnect.SOON),
    /** The token expired and was not refreshed. Come back with a fresh one. */
    TOKEN_EXPIRED(4003, Reconnect.SOON),
    /** An operator ended the connections of the user, who may come back. */
    DISCONNECTED(4004, Reconnect.LATER),
    /** No {@code auth} message came before the deadline. */
    AUTH_TIMEOUT(4008, Reconnect.LATER),
    /** The token is not valid. */
    UNAUTHORIZED(4401, Reconnect.NEVER),
    /** The user may not connect. */
    FORBIDDEN(4403, Reconnect.NEVER),
    /** The user opened more connections than allowed and this one was the oldest. */
    REPLACED(4409, Reconnect.NEVER),
    /** The client went on after `rate_limited` errors. */
    RATE_LIMITED(4429, Reconnect.NEVER),
    /** The token or the user was revoked. */
    REVOKED(4440, Reconnect.NEVER);

    private final int code;
    private final Reconnect reconnect;

    CloseCode(int code, Reconnect reconnect) {
        this.code = code;
        this.reconnect = reconnect;
    }

    /**
     * The number in the close frame.
     *
     * @return 1000 to 4999
     */
    public int code() {
        return code;
    }

    /**
     * Whether and how fast to come back.
     *
     * @return what the table says
     */
    public Reconnect reconnect() {
        return reconnect;
    }

    /**
     * The code of a number.
     *
     * @param code any number
     * @return {@code null} if the protocol does not name it
     */
    public static CloseCode of(int code) {
        for (CloseCode known : values()) {
            if (known.code == code) {
                return known;
            }
        }
        return null;
    }
}
