package dev.odin.client;

import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** How to connect. Made by {@link #builder}; it does not change afterwards. */
public final class ClientOptions {
    private static final int MIN_MESSAGE_BYTES = 262_144;

    private final List<URI> urls;
    private final Transport transport;
    private final TokenSource tokens;
    private final EventListener listener;
    private final Duration connectTimeout;
    private final Duration tokenTimeout;
    private final Duration backoffBase;
    private final Duration backoffCap;
    private final Duration stableAfter;
    private final int maxMessageBytes;
    private final int publishQueue;

    private ClientOptions(Builder builder) {
        urls = List.copyOf(builder.urls);
        maxMessageBytes = builder.maxMessageBytes;
        transport = builder.transport == null ? new SocketTransport(maxMessageBytes) : builder.transport;
        tokens = builder.tokens;
        listener = builder.listener;
        connectTimeout = builder.connectTimeout;
        tokenTimeout = builder.tokenTimeout;
        backoffBase = builder.backoffBase;
        backoffCap = builder.backoffCap;
        stableAfter = builder.stableAfter;
        publishQueue = builder.publishQueue;
    }

    /**
     * Begins options with everything at its default.
     *
     * @param url a gateway, {@code ws://host[:port][/path]} or {@code wss://…}
     * @return what the other options can be set on
     * @throws IllegalArgumentException for another url
     */
    public static Builder builder(String url) {
        return new Builder().url(url);
    }

    /**
     * Gateways.
     *
     * @return at least one
     */
    public List<URI> urls() {
        return urls;
    }

    Transport transport() {
        return transport;
    }

    TokenSource tokens() {
        return tokens;
    }

    EventListener listener() {
        return listener;
    }

    /**
     * Limit for TCP, TLS, HTTP and the gateway's first message together, and for the answer to a token.
     *
     * @return 5 s by default
     */
    public Duration connectTimeout() {
        return connectTimeout;
    }

    /**
     * A source of tokens that takes longer has failed.
     *
     * @return 30 s by default
     */
    public Duration tokenTimeout() {
        return tokenTimeout;
    }

    Duration backoffBase() {
        return backoffBase;
    }

    Duration backoffCap() {
        return backoffCap;
    }

    Duration stableAfter() {
        return stableAfter;
    }

    /**
     * Largest message taken, assembled.
     *
     * @return 1 MiB by default
     */
    public int maxMessageBytes() {
        return maxMessageBytes;
    }

    int publishQueue() {
        return publishQueue;
    }

    /** Sets options; a value out of bounds is refused at once. */
    public static final class Builder {
        private final List<URI> urls = new ArrayList<>();
        private Transport transport;
        private TokenSource tokens;
        private EventListener listener = event -> { };
        private Duration connectTimeout = Duration.ofSeconds(5);
        private Duration tokenTimeout = Duration.ofSeconds(30);
        private Duration backoffBase = Duration.ofMillis(Backoff.DEFAULT_BASE_MS);
        private Duration backoffCap = Duration.ofMillis(Backoff.DEFAULT_CAP_MS);
        private Duration stableAfter = Duration.ofSeconds(30);
        private int maxMessageBytes = 1024 * 1024;
        private int publishQueue = 256;

        private Builder() {
        }

        /**
         * Adds a gateway. After a connection is lost or refused the next one is tried, after the last the first again.
         *
         * @param url {@code ws://host[:port][/path]} or {@code wss://…}
         * @return this
         * @throws IllegalArgumentException for another url, or one with a user in it
         */
        public Builder url(String url) {
            URI parsed = URI.create(url);
            boolean isKnown = "ws".equals(parsed.getScheme()) || "wss".equals(parsed.getScheme());
            if (!isKnown || parsed.getHost() == null || parsed.getUserInfo() != null || parsed.getFragment() != null) {
                throw new IllegalArgumentException("invalid gateway url: ws://host[:port][/path] or wss:// is needed");
            }
            urls.add(parsed);
            return this;
        }

        /**
         * Takes another WebSocket than {@link SocketTransport}.
         *
         * @param transport told of every connection to make
         * @return this
         */
        public Builder transport(Transport transport) {
            this.transport = Objects.requireNonNull(transport);
            return this;
        }

        /**
         * Signs in: before anything else on each connection, and again before a token expires.
         *
         * @param tokens asked each time
         * @return this
         */
        public Builder tokens(TokenSource tokens) {
            this.tokens = Objects.requireNonNull(tokens);
            return this;
        }

        /**
         * Hears of everything that happens.
         *
         * @param listener called on the client's thread
         * @return this
         */
        public Builder listener(EventListener listener) {
            this.listener = Objects.requireNonNull(listener);
            return this;
        }

        /**
         * Sets {@link ClientOptions#connectTimeout()}.
         *
         * @param timeout more than zero
         * @return this
         */
        public Builder connectTimeout(Duration timeout) {
            connectTimeout = positive(timeout, "connect timeout");
            return this;
        }

        /**
         * Sets {@link ClientOptions#tokenTimeout()}.
         *
         * @param timeout more than zero
         * @return this
         */
        public Builder tokenTimeout(Duration timeout) {
            tokenTimeout = positive(timeout, "token timeout");
            return this;
        }

        /**
         * Sets the waits between tries to connect. The protocol's are 500 ms and 30 s; others are for tests.
         *
         * @param base longest first wait, more than zero
         * @param cap longest wait of all
         * @return this
         */
        public Builder backoff(Duration base, Duration cap) {
            backoffBase = positive(base, "back-off");
            backoffCap = positive(cap, "back-off");
            return this;
        }

        /**
         * Sets how long a connection has to last before the waits begin at the shortest again; 30 s by default.
         *
         * @param time more than zero
         * @return this
         */
        public Builder stableAfter(Duration time) {
            stableAfter = positive(time, "stable time");
            return this;
        }

        /**
         * Sets {@link ClientOptions#maxMessageBytes()}.
         *
         * @param bytes more than 262,144, which a gateway may send
         * @return this
         */
        public Builder maxMessageBytes(int bytes) {
            if (bytes <= MIN_MESSAGE_BYTES) {
                throw new IllegalArgumentException("largest message must be more than " + MIN_MESSAGE_BYTES + " bytes");
            }
            maxMessageBytes = bytes;
            return this;
        }

        /**
         * Sets how many publications may wait for their turn besides those under way; 256 by default.
         *
         * @param publications at least 1
         * @return this
         */
        public Builder publishQueue(int publications) {
            if (publications < 1) {
                throw new IllegalArgumentException("publish queue must be at least 1");
            }
            publishQueue = publications;
            return this;
        }

        /**
         * The options.
         *
         * @return they can be used for several clients
         */
        public ClientOptions build() {
            return new ClientOptions(this);
        }

        private static Duration positive(Duration time, String name) {
            if (time.isZero() || time.isNegative()) {
                throw new IllegalArgumentException(name + " must be more than zero");
            }
            return time;
        }
    }
}
