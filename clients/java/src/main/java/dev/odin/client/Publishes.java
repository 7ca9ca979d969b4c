package dev.odin.client;

import dev.odin.client.protocol.ErrorCode;
import dev.odin.client.protocol.MessageWriter;
import dev.odin.client.protocol.RequestId;
import dev.odin.client.protocol.ServerMessage;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;

/**
 * Publications under way: those that wait to be sent, and those that wait for their answer. Times in milliseconds.
 *
 * <p>One is sent once. When the connection ends first, its outcome is not known, and that is what is said.
 */
final class Publishes {
    /** Publications without an answer at once; a gateway takes no more. */
    static final int MAX_UNDER_WAY = 16;
    /** One without an answer for so long will not get one: the gateway itself waits less for the stream. */
    static final long TIMEOUT_MS = 30_000;
    private static final long NEVER = Long.MAX_VALUE;

    private record Waiting(String channel, String data, CompletableFuture<Published> outcome) {
    }

    private static final class Sent {
        private final long id;
        private final CompletableFuture<Published> outcome;
        private long answerBy;

        private Sent(long id, long answerBy, CompletableFuture<Published> outcome) {
            this.id = id;
            this.answerBy = answerBy;
            this.outcome = outcome;
        }
    }

    private final int maxWaiting;
    private final Deque<Waiting> waiting = new ArrayDeque<>();
    /** Oldest first. */
    private final Deque<Sent> sent = new ArrayDeque<>();
    /** The gateway asked for patience: whoever goes on is closed for good. */
    private long holdUntil = Long.MIN_VALUE;

    Publishes(int maxWaiting) {
        this.maxWaiting = maxWaiting;
    }

    boolean isEmpty() {
        return waiting.isEmpty() && sent.isEmpty();
    }

    /** Takes one that has been checked. */
    void add(String channel, String data, CompletableFuture<Published> outcome) {
        if (waiting.size() >= maxWaiting) {
            String message = maxWaiting + " publications wait already";
            outcome.completeExceptionally(new PublishException(PublishException.Kind.BUSY, message));
            return;
        }
        waiting.add(new Waiting(channel, data, outcome));
    }

    boolean hasMessage(long now) {
        return !waiting.isEmpty() && sent.size() < MAX_UNDER_WAY && now >= holdUntil;
    }

    /** The next one to send, under this id; {@code null} if none of those that wait is to be sent. */
    String message(long now, long id, long limit) {
        while (!waiting.isEmpty()) {
            Waiting next = waiting.remove();
            if (next.outcome().isDone()) {
                // nobody waits for it any more
                continue;
            }
            String message = MessageWriter.publish(new RequestId(id, null), next.channel(), next.data());
            int bytes = message.getBytes(StandardCharsets.UTF_8).length;
            if (bytes > limit) {
                // it would end the connection, and for good
                String why = "message has " + bytes + " bytes, the gateway reads " + limit;
                next.outcome().completeExceptionally(new PublishException(PublishException.Kind.TOO_BIG, why));
                continue;
            }
            sent.add(new Sent(id, now + TIMEOUT_MS, next.outcome()));
            return message;
        }
        return null;
    }

    /** {@code published}: whether somebody had asked for that. */
    boolean published(ServerMessage.Published answer) {
        Sent publication = take(answer.id());
        return publication != null
                && publication.outcome.complete(new Published(answer.channel(), answer.seq(), answer.epoch()));
    }

    /** {@code error}: whether it was about a publication. */
    boolean refused(long now, ServerMessage.Error error) {
        Sent publication = take(error.id());
        if (publication == null) {
            return false;
        }
        long retryAfterMs = Backoff.asked(error.retryAfterMs());
        if (error.code() == ErrorCode.RATE_LIMITED) {
            holdUntil = Math.max(holdUntil, now + retryAfterMs);
        }
        String message = error.code().wire() + ": " + Text.printable(error.message());
        publication.outcome.completeExceptionally(error.code() == ErrorCode.UNAVAILABLE
                // the gateway has sent it on, and does not know what became of it
                ? PublishException.unknown()
                : new PublishException(PublishException.Kind.REFUSED, message, error.code(), retryAfterMs));
        return true;
    }

    private Sent take(RequestId id) {
        for (Iterator<Sent> all = sent.iterator(); id != null && all.hasNext();) {
            Sent publication = all.next();
            if (id.is(publication.id)) {
                all.remove();
                return publication;
            }
        }
        return null;
    }

    /** When there is something to say again, or an answer is late. */
    long deadline() {
        long held = waiting.isEmpty() || sent.size() >= MAX_UNDER_WAY ? NEVER : holdUntil;
        return Math.min(held == Long.MIN_VALUE ? NEVER : held, sent.isEmpty() ? NEVER : sent.peek().answerBy);
    }

    /** Time has passed. */
    void tick(long now) {
        if (now >= holdUntil) {
            holdUntil = Long.MIN_VALUE;
        }
        while (!sent.isEmpty() && sent.peek().answerBy <= now) {
            sent.remove().outcome.completeExceptionally(PublishException.unknown());
        }
    }

    /** Nothing was read for some time: answers may lie there unread. */
    void waitAnew(long now) {
        sent.forEach(publication -> publication.answerBy = now + TIMEOUT_MS);
    }

    /** There is no connection any more. What was not sent waits for the next one. */
    void disconnect() {
        holdUntil = Long.MIN_VALUE;
        while (!sent.isEmpty()) {
            sent.remove().outcome.completeExceptionally(PublishException.unknown());
        }
    }

    /** The client has ended. */
    void end() {
        disconnect();
        while (!waiting.isEmpty()) {
            PublishException closed = new PublishException(PublishException.Kind.CLOSED, "client is closed");
            waiting.remove().outcome().completeExceptionally(closed);
        }
    }
}
