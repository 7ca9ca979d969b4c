package dev.odin.client.protocol;

/** A message of a gateway. Components are named as the members on the wire; {@code null} where an optional one is absent. */
public sealed interface ServerMessage
        permits Update, ServerMessage.Status, ServerMessage.Subscribed, ServerMessage.Unsubscribed, ServerMessage.Gap,
        ServerMessage.Stale, ServerMessage.Live, ServerMessage.Checkpoint, ServerMessage.SystemStatus,
        ServerMessage.Pong, ServerMessage.Authenticated, ServerMessage.Published, ServerMessage.Error,
        ServerMessage.Unknown {
    /**
     * The first message of every connection.
     *
     * @param status {@code connected}
     * @param connectionId names the connection in the gateway's logs
     * @param heartbeatMs time between two WebSocket pings
     * @param idleTimeoutMs how long a connection may be without a subscription
     * @param connectedClients connections of this gateway or of the cluster
     * @param maxMessageBytes largest message the gateway reads
     * @param epoch the stream
     * @param server program and version, for people
     */
    record Status(String status, String connectionId, long heartbeatMs, Long idleTimeoutMs, long connectedClients,
            long maxMessageBytes, String epoch, String server) implements ServerMessage {
    }

    /**
     * A subscription begins.
     *
     * @param id the request's; absent if the gateway began it anew by itself
     * @param channel as subscribed
     * @param mode the mode in force
     * @param recovered whether everything after {@code since} follows
     * @param reason why not
     * @param cursor where the subscription begins
     */
    record Subscribed(RequestId id, String channel, Mode mode, boolean recovered, ResumeReason reason, String cursor)
            implements ServerMessage {
    }

    /**
     * A subscription has ended.
     *
     * @param id the request's; absent if the gateway ended it
     * @param channel as subscribed
     */
    record Unsubscribed(RequestId id, String channel) implements ServerMessage {
    }

    /**
     * Publications were left out.
     *
     * @param channel the concrete channel, or the subscribed pattern for all of its chains
     * @param key one chain of the channel
     * @param after last sequence before the gap
     * @param until last sequence of the gap
     * @param reason why
     */
    record Gap(String channel, String key, long after, long until, GapReason reason) implements ServerMessage {
    }

    /**
     * Values may be old from now on.
     *
     * @param channel as subscribed; absent: the whole connection
     * @param reason why
     * @param since complete up to then, in milliseconds since 1970
     */
    record Stale(String channel, StaleReason reason, Long since) implements ServerMessage {
    }

    /**
     * Ends {@link Stale}.
     *
     * @param channel as in {@link Stale}
     */
    record Live(String channel) implements ServerMessage {
    }

    /**
     * Everything up to this position has been sent.
     *
     * @param cursor the position to give back
     */
    record Checkpoint(String cursor) implements ServerMessage {
    }

    /**
     * The gateway speaks about itself.
     *
     * @param status what
     * @param reconnectInMs draining: within this time it closes the connection
     * @param expiresInMs token expiring: time left
     * @param message for people
     */
    record SystemStatus(SystemState status, Long reconnectInMs, Long expiresInMs, String message)
            implements ServerMessage {
    }

    /**
     * Answers a ping.
     *
     * @param id the request's
     * @param ts the gateway's clock
     */
    record Pong(RequestId id, long ts) implements ServerMessage {
    }

    /**
     * A token was accepted.
     *
     * @param id the request's
     * @param sub the user
     * @param expiresAt when the token expires, in milliseconds since 1970; absent: never
     */
    record Authenticated(RequestId id, String sub, Long expiresAt) implements ServerMessage {
    }

    /**
     * The stream has stored a publication.
     *
     * @param id the request's
     * @param channel as in the request
     * @param seq its sequence
     * @param epoch the stream
     */
    record Published(RequestId id, String channel, long seq, String epoch) implements ServerMessage {
    }

    /**
     * A request, or one channel of it, was refused.
     *
     * @param id the request's, if it was readable
     * @param code for programs
     * @param message for people
     * @param channel the entry it is about
     * @param limit the limit that was hit
     * @param retryAfterMs when the same request may succeed
     */
    record Error(RequestId id, ErrorCode code, String message, String channel, Long limit, Long retryAfterMs)
            implements ServerMessage {
    }

    /**
     * A type newer than this client, to be ignored.
     *
     * @param type its name
     */
    record Unknown(String type) implements ServerMessage {
    }
}
