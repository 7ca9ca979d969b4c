package dev.odin.client;

import java.net.URI;
import java.time.Duration;

/**
 * The WebSocket underneath, one screen long, so that another library can take the place of {@link SocketTransport}: OkHttp
 * in an app that has it anyway, or a wire that a test holds.
 *
 * <p>A transport knows nothing of what is said. It never connects again by itself.
 */
public interface Transport {
    /**
     * Begins to connect, and returns at once. The listener is told of {@code onOpen} and then of messages, and in the end
     * exactly once of {@code onClose} or {@code onFailure}; without {@code onOpen} before it if there was no connection.
     *
     * @param url {@code ws} or {@code wss}
     * @param protocol the sub-protocol to offer, and the only one to take
     * @param timeout how long TCP, TLS and HTTP may take together
     * @param listener told from any thread, one call at a time
     * @return the connection that is being made
     */
    Connection connect(URI url, String protocol, Duration timeout, Listener listener);

    /** One connection, from the moment it is asked for. All methods return at once, from any thread. */
    interface Connection {
        /**
         * Sends one text message, after those sent before.
         *
         * @param text whole
         * @return false if so much waits already that the other side does not seem to read, or if there is no connection
         */
        boolean send(String text);

        /**
         * Sends a close frame, waits a short while for the other side's, and ends the connection.
         *
         * @param code 1000 or 1001
         */
        void close(int code);

        /** Ends the connection without a word. */
        void abort();
    }

    /** The client's end. */
    interface Listener {
        /**
         * The handshake is done.
         *
         * @param protocol the sub-protocol that the other side chose; empty if it chose none
         */
        void onOpen(String protocol);

        /**
         * A whole text message. The call may last until the application has taken earlier ones: meanwhile the transport
         * must not read on, which is how a slow application slows down its gateway.
         *
         * @param text whole, at most {@link ClientOptions#maxMessageBytes()}
         */
        void onText(String text);

        /** A sign of life that is no message: a ping (which the transport has answered) or a pong. */
        void onActivity();

        /**
         * The other side closed the connection. The transport has answered the close frame.
         *
         * @param code of the close frame; 1005 for one without a code
         * @param reason for people
         */
        void onClose(int code, String reason);

        /**
         * There is no connection, or it broke.
         *
         * @param failure what happened
         */
        void onFailure(Failure failure);
    }

    /**
     * Why there is no connection.
     *
     * @param cause for people; no secret
     * @param status HTTP status of a refused handshake; 0 if there was no answer, or if the platform hides it
     * @param retryAfterMs what {@code Retry-After} said; 0 if it did not
     * @param isProtocol whether the other side broke the protocol: a binary frame, or a message that is too large
     */
    record Failure(String cause, int status, long retryAfterMs, boolean isProtocol) {
        /**
         * The connection broke or could not be made.
         *
         * @param cause for people
         * @return the failure
         */
        public static Failure broken(String cause) {
            return new Failure(cause, 0, 0, false);
        }

        /**
         * The handshake was answered with another status than 101.
         *
         * @param status HTTP status
         * @param retryAfter the header of that name, or {@code null}; only seconds are understood
         * @return the failure
         */
        public static Failure refused(int status, String retryAfter) {
            long seconds = 0;
            try {
                seconds = retryAfter == null ? 0 : Integer.parseInt(retryAfter.trim());
            } catch (NumberFormatException aDate) {
                // a gateway says seconds; without them the back-off alone decides
            }
            return new Failure("handshake answered with status " + status, status, seconds * 1_000, false);
        }

        /**
         * The other side broke the protocol.
         *
         * @param cause for people
         * @return the failure
         */
        public static Failure protocol(String cause) {
            return new Failure(cause, 0, 0, true);
        }
    }
}
