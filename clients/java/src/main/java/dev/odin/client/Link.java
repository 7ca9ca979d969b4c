package dev.odin.client;

import dev.odin.client.protocol.ServerMessage;

/** One connection from the gateway's hello on: its heartbeat, its pings and a drain's deadline. Times in milliseconds. */
final class Link {
    /** A connection is silent after so many heartbeats without anything. */
    private static final int SILENT_HEARTBEATS = 2;
    /** Bounds of the heartbeat that a gateway may name. */
    private static final long MIN_HEARTBEAT_MS = 10;
    private static final long MAX_HEARTBEAT_MS = 600_000;
    /** A draining gateway may be so much later than it said before the client leaves by itself. */
    private static final long DRAIN_GRACE_MS = 2_000;
    /** Smallest and largest request made, in bytes, whatever the gateway says it reads. */
    private static final long MIN_REQUEST_BYTES = 1_024;
    private static final long MAX_REQUEST_BYTES = 32 * 1_024;
    private static final long NEVER = Long.MAX_VALUE;

    /** What time asks for. */
    enum Due {
        NOTHING,
        /** A ping is to be sent, and to be told by {@link #pinged}. */
        PING,
        SILENT,
        DRAINED
    }

    private final long since;
    private final long heartbeatMs;
    private final long maxMessageBytes;
    /** When something last came. */
    private long heard;
    /** The ping that is not answered yet; 0: none. */
    private long ping;
    private long leaveAt = NEVER;

    Link(long now, ServerMessage.Status status) {
        since = now;
        heard = now;
        heartbeatMs = Math.max(MIN_HEARTBEAT_MS, Math.min(MAX_HEARTBEAT_MS, status.heartbeatMs()));
        maxMessageBytes = status.maxMessageBytes();
    }

    /** How long it has lived. */
    long age(long now) {
        return now - since;
    }

    /** Largest message that the gateway reads. */
    long maxMessageBytes() {
        return maxMessageBytes;
    }

    /** Largest request to make. */
    int maxRequestBytes() {
        return (int) Math.max(MIN_REQUEST_BYTES, Math.min(MAX_REQUEST_BYTES, maxMessageBytes));
    }

    /** How long nothing may come before the client leaves. */
    long silenceMs() {
        return heartbeatMs * SILENT_HEARTBEATS;
    }

    /** Anything came. */
    void heard(long now) {
        heard = Math.max(heard, now);
    }

    private long pingAt() {
        return ping == 0 ? heard + heartbeatMs * 3 / 2 : NEVER;
    }

    /** When {@link #due} next asks for something. */
    long deadline() {
        return Math.min(heard + silenceMs(), Math.min(pingAt(), leaveAt));
    }

    Due due(long now) {
        if (now >= heard + silenceMs()) {
            return Due.SILENT;
        }
        if (now >= leaveAt) {
            return Due.DRAINED;
        }
        return now >= pingAt() ? Due.PING : Due.NOTHING;
    }

    void pinged(long id) {
        ping = id;
    }

    /** A request was answered: if it was the ping, another one may be sent. */
    void answered(long id) {
        if (ping == id) {
            ping = 0;
        }
    }

    /** The gateway closes the connection within this time. */
    void draining(long now, long withinMs) {
        leaveAt = now + Math.min(withinMs, NEVER - now - DRAIN_GRACE_MS) + DRAIN_GRACE_MS;
    }
}
