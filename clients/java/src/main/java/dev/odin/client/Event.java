package dev.odin.client;

import dev.odin.client.protocol.ErrorCode;
import dev.odin.client.protocol.GapReason;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.ResumeReason;
import dev.odin.client.protocol.ServerMessage;
import dev.odin.client.protocol.StaleReason;
import dev.odin.client.protocol.Update;
import java.net.URI;

/**
 * What a client tells the application, in the order it happened.
 *
 * <p>Components may be {@code null} where their text says so. Times are milliseconds; points in time count from 1970.
 */
public sealed interface Event {
    /**
     * A gateway has said hello. Subscriptions are asked for again by themselves.
     *
     * @param url one of those of the options
     * @param status what the gateway said
     * @param reconnects connections made before this one
     */
    record Connected(URI url, ServerMessage.Status status, long reconnects) implements Event {
    }

    /**
     * The gateway accepted a token: the first one of a connection, or a fresh one.
     *
     * @param sub the user
     * @param expiresAt by the gateway's clock; {@code null}: never
     * @param isRefresh whether the connection was signed in before
     */
    record Authenticated(String sub, Long expiresAt, boolean isRefresh) implements Event {
    }

    /**
     * A token was not accepted, or there was none.
     *
     * @param why what happened
     * @param retryAfterMs when the client tries again by itself on this connection; {@code null}: it does not, and what
     *     follows is {@link Reconnecting} or {@link Closed}, at the latest when the token in force has expired
     * @param isRefresh whether the connection is signed in all the same, with the token of before
     */
    record AuthFailed(AuthFailure why, Long retryAfterMs, boolean isRefresh) implements Event {
    }

    /**
     * The connection is lost or could not be made; the next try comes by itself.
     *
     * @param attempt tries that came to nothing since the connection was last good, from 1
     * @param afterMs wait before the next one
     * @param why what happened
     */
    record Reconnecting(int attempt, long afterMs, Parting why) implements Event {
    }

    /** The gateway closed the connection because nothing was subscribed. It comes back with the next subscription. */
    record Idle() implements Event {
    }

    /**
     * A subscription begins or goes on.
     *
     * @param channel as subscribed: may be a pattern
     * @param mode the mode in force
     * @param recovered whether everything after the position of before follows
     * @param reason why not; {@code null} if that was not asked for
     * @param isAnew whether it had begun before and does not continue: in mode {@code all} publications may then be
     *     missing without a gap
     * @param cursor the position to come back to, as of now; may be {@code null}
     */
    record Subscribed(String channel, Mode mode, boolean recovered, ResumeReason reason, boolean isAnew,
            String cursor) implements Event {
    }

    /**
     * A subscription has ended, by request or by the gateway. Nothing of it follows.
     *
     * @param channel as subscribed
     */
    record Unsubscribed(String channel) implements Event {
    }

    /**
     * A publication, never one that came before.
     *
     * @param update the publication
     */
    record Updated(Update update) implements Event {
    }

    /**
     * Publications are missing: those with {@code after < seq <= until}.
     *
     * @param channel the concrete channel, or the subscribed pattern for all of its channels
     * @param key one chain of the channel; {@code null} for all of them
     * @param after last sequence before the gap
     * @param until last sequence of the gap
     * @param announced why, as the gateway says; {@code null}: it did not say anything, and has broken its promise
     */
    record Gap(String channel, String key, long after, long until, GapReason announced) implements Event {
    }

    /**
     * The gateway sent something for the second time without excuse. It was dropped.
     *
     * @param channel the concrete channel
     * @param key the chain of the channel; may be {@code null}
     * @param seq its sequence
     */
    record Repeated(String channel, String key, long seq) implements Event {
    }

    /**
     * Everything up to this position has been delivered before this event, of every subscription confirmed on this
     * connection. A program that keeps it can continue from here another time.
     *
     * @param cursor as the gateway wrote it
     */
    record Checkpoint(String cursor) implements Event {
    }

    /**
     * Values may be old from now on; what is missed meanwhile comes before {@link Live}. It ends with the connection
     * too, and with the {@link Subscribed} of its channel.
     *
     * @param channel as subscribed; {@code null}: all
     * @param reason why; may be {@code null}
     * @param since complete up to then; may be {@code null}
     */
    record Stale(String channel, StaleReason reason, Long since) implements Event {
    }

    /**
     * Values are fresh again.
     *
     * @param channel as in {@link Stale}
     */
    record Live(String channel) implements Event {
    }

    /**
     * The gateway is about to close the connection; another one takes over.
     *
     * @param withinMs within this time; may be {@code null}
     * @param message for people; may be {@code null}
     */
    record Draining(Long withinMs, String message) implements Event {
    }

    /**
     * The operators have something to say.
     *
     * @param message for people
     */
    record Notice(String message) implements Event {
    }

    /**
     * A request was refused.
     *
     * @param code for programs
     * @param message for people
     * @param channel the channel it is about; may be {@code null}
     * @param retryAfterMs when the client asks again by itself; {@code null}: it does not
     */
    record Refused(ErrorCode code, String message, String channel, Long retryAfterMs) implements Event {
    }

    /**
     * The end: no event follows.
     *
     * @param why what happened
     */
    record Closed(Parting why) implements Event {
    }
}
