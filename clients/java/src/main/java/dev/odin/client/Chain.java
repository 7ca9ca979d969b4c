package dev.odin.client;

import dev.odin.client.protocol.Cursor;
import dev.odin.client.protocol.Update;

/**
 * One chain: the updates of one (channel, key), each naming the one before it.
 *
 * <p>A chain proves that nothing is missing. The rules are those of {@code docs/protocol.md}, "What a client does with
 * each message". Which subscription it belongs to and what a jump means there is for {@link CursorMap} to say.
 */
final class Chain {
    /** What an update is to its chain. */
    enum Kind {
        /** It continues the chain, or starts one. */
        NEXT,
        /** It came before, as it may where a subscription begins or is resumed: to be dropped. */
        OVERLAP,
        /** It came before, or was announced as left out, and nothing excuses that: to be dropped. */
        REPEATED,
        /** It is new, but what lies between {@code after} and {@code until} did not come, and nobody announced that. */
        JUMPED
    }

    /** A {@link Kind} with what has been jumped over. */
    record Verdict(Kind kind, long after, long until) {
        private static final Verdict NEXT = new Verdict(Kind.NEXT, 0, 0);
        private static final Verdict OVERLAP = new Verdict(Kind.OVERLAP, 0, 0);
        private static final Verdict REPEATED = new Verdict(Kind.REPEATED, 0, 0);
    }

    private String epoch;
    /** Everything up to here was delivered or announced as left out. */
    private long last;
    /** The last update delivered, as a position; none once the gateway has named a newer one. */
    private Cursor position;
    /** Whether the next update begins the chain anew. */
    private boolean isOpen;
    /** Whether even its sequence cannot be compared: the stream was rolled back. */
    private boolean isForgotten;
    /** Whether the overlap of the last begin is over: something new has come since. */
    private boolean isSettled;

    /** Starts a chain with the first update seen of it. */
    Chain(Update first) {
        start(first);
    }

    private void start(Update update) {
        epoch = update.epoch();
        last = update.seq();
        position = update.cursor();
        isOpen = false;
        isForgotten = false;
        isSettled = true;
    }

    /** Decides about the next update and moves on. */
    Verdict accept(Update update) {
        if (isForgotten || !update.epoch().equals(epoch)) {
            start(update);
            return Verdict.NEXT;
        }
        long after = last;
        if (update.seq() <= after) {
            return isSettled ? Verdict.REPEATED : Verdict.OVERLAP;
        }
        boolean isStart = isOpen || update.snapshot() || update.prev() == null;
        start(update);
        return isStart || update.prev() <= after ? Verdict.NEXT : new Verdict(Kind.JUMPED, after, update.prev());
    }

    /** The gateway said that publications up to {@code until} were left out. */
    void leaveOut(long until) {
        last = Math.max(last, until);
    }

    /** A subscription that covers the chain goes on: what came before may come again. */
    void resume() {
        isSettled = false;
    }

    /** A subscription that covers the chain begins anew: the next update may be any later one. */
    void open() {
        isSettled = false;
        isOpen = true;
    }

    /** The stream was rolled back or is another one: the next update may be any. */
    void forget() {
        isForgotten = true;
        position = null;
    }

    /**
     * The gateway has named a position. It counts more than the last update unless it is known to lie before it.
     *
     * @param named {@code null} if it is of another form: it cannot be compared, and came later
     */
    void supersede(Cursor named) {
        boolean isBefore = named != null && position != null && named.epoch().equals(position.epoch())
                && Long.compareUnsigned(named.seq(), position.seq()) < 0;
        if (!isBefore) {
            position = null;
        }
    }

    /** The last update, if nothing newer is known to come back to; else {@code null}. */
    Cursor position() {
        return position;
    }
}
