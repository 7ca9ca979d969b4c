package dev.odin.client.protocol;

import java.util.Locale;

/** Why a request was refused; the table is in {@code docs/protocol.md}. */
public enum ErrorCode {
    /** The message is not readable, misses a member, repeats one or has one of the wrong type. */
    INVALID_MESSAGE(false),
    /** The message has a {@code type} this gateway does not know. */
    UNKNOWN_TYPE(false),
    /** The message is larger than {@code maxMessageBytes}. */
    MESSAGE_TOO_BIG(false),
    /** The channel name breaks the grammar. */
    INVALID_CHANNEL(false),
    /** No rule of the gateway maps this channel. */
    UNKNOWN_CHANNEL(false),
    /** The gateway does not offer this option or message, or not for this channel. */
    UNSUPPORTED(false),
    /** The channel or request needs a signed-in user. */
    AUTH_REQUIRED(false),
    /** The token is not valid. */
    AUTH_FAILED(false),
    /** The gateway cannot check tokens at present, or not at all. */
    AUTH_UNAVAILABLE(true),
    /** The user may not do this. */
    FORBIDDEN(false),
    /** One message names more channels than allowed; none of them was handled. */
    TOO_MANY_CHANNELS(false),
    /** The connection holds as many subscriptions as allowed. */
    TOO_MANY_SUBSCRIPTIONS(false),
    /** The user has as many connections as allowed. */
    TOO_MANY_CONNECTIONS(true),
    /** The pattern covers more subjects than the gateway serves at once. */
    TOO_WIDE(false),
    /** Too many requests in too short a time. */
    RATE_LIMITED(true),
    /** The {@code data} of a {@code publish} is not acceptable for the channel. */
    INVALID_PAYLOAD(false),
    /** The stream cannot be reached at present. */
    UNAVAILABLE(true),
    /** The gateway failed; the log has the cause. */
    INTERNAL(true),
    /** A code newer than this client. It has no special meaning. */
    UNKNOWN(false);

    private final boolean retry;

    ErrorCode(boolean retry) {
        this.retry = retry;
    }

    /**
     * Whether the same request may succeed later without a change.
     *
     * @return what the table says; false for {@link #UNKNOWN}
     */
    public boolean mayRetry() {
        return retry;
    }

    /**
     * The name on the wire.
     *
     * @return in lower case, with underscores
     */
    public String wire() {
        return name().toLowerCase(Locale.ROOT);
    }

    static ErrorCode of(String wire) {
        return Names.of(values(), wire, UNKNOWN);
    }
}
