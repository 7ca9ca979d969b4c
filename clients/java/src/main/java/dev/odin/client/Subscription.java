package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.Cursor;
import dev.odin.client.protocol.Mode;
import java.util.concurrent.CompletableFuture;

/** A subscription that the application holds. It lives across connections until it is ended. */
public final class Subscription {
    private final OdinClient client;
    private final Channel channel;

    Subscription(OdinClient client, Channel channel) {
        this.client = client;
        this.channel = channel;
    }

    /** What goes with a subscription. */
    public static final class Options {
        private final Mode mode;
        private final String since;

        private Options(Mode mode, String since) {
            this.mode = mode;
            this.since = since;
        }

        /**
         * From now on, in the channel's own mode.
         *
         * @return the default
         */
        public static Options defaults() {
            return new Options(null, null);
        }

        /**
         * The same in this mode, where the gateway leaves the choice.
         *
         * @param mode asked for
         * @return other options
         */
        public Options mode(Mode mode) {
            return new Options(mode, since);
        }

        /**
         * The same from a position on: one that an earlier program was given.
         *
         * @param cursor as it came; its form is the gateway's affair
         * @return other options
         * @throws IllegalArgumentException if it can be no cursor
         */
        public Options since(String cursor) {
            if (!Cursor.isPossible(cursor)) {
                throw new IllegalArgumentException("a cursor has 1 to " + Cursor.MAX_BYTES + " characters");
            }
            return new Options(mode, cursor);
        }

        Mode mode() {
            return mode;
        }

        String since() {
            return since;
        }
    }

    /**
     * The channel.
     *
     * @return as subscribed: may be a pattern
     */
    public String channel() {
        return channel.toString();
    }

    /**
     * The position to come back to, good for {@link Options#since} of another program.
     *
     * @return completed on the client's thread; with {@code null} where nothing is known yet or any more
     */
    public CompletableFuture<String> cursor() {
        return client.cursor(channel);
    }

    /** Ends the subscription. No update is delivered once the client's thread has taken this. */
    public void unsubscribe() {
        client.unsubscribe(channel);
    }
}
