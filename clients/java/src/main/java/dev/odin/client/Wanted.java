package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.MessageWriter;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.RequestId;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Function;

/** What the application wants to be subscribed to, and how far each wish has come on this connection. */
final class Wanted {
    /** Most channels of one message: well below the 500 that a gateway takes. */
    private static final int MAX_CHANNELS_PER_MESSAGE = 200;
    /** What an entry needs beside its channel and cursor, in bytes. */
    private static final int ENTRY_BYTES = 48;
    /** What a message needs beside its entries, in bytes. */
    private static final int MESSAGE_BYTES = 64;
    private static final long NEVER = Long.MAX_VALUE;

    private enum Step {
        /** To be asked for. */
        DUE,
        ASKED,
        ACTIVE,
        /** Refused for now: to be asked for again then. */
        LATER
    }

    /** What a {@code subscribed} is. */
    enum Confirmed {
        /** The answer to the last request. */
        ANSWER,
        /** The gateway began the subscription anew by itself. */
        ANEW,
        /** Of no meaning here. */
        NOTHING
    }

    private static final class Wish {
        private final Mode mode;
        private final Backoff retry;
        /** The application's own position, until the gateway has taken it. */
        private String since;
        private Step step = Step.DUE;
        private long id;
        private long at;

        private Wish(Mode mode, String since, Backoff retry) {
            this.mode = mode;
            this.since = since;
            this.retry = retry;
        }
    }

    private final Map<Channel, Wish> wishes = new LinkedHashMap<>();
    /** Channels that were made due, oldest first; some may not be any more. */
    private final Deque<Channel> due = new ArrayDeque<>();
    private final Backoff retry;

    /** {@code retry}: waits before a request that was refused for now is repeated. */
    Wanted(Backoff retry) {
        this.retry = retry;
    }

    boolean isEmpty() {
        return wishes.isEmpty();
    }

    boolean contains(Channel channel) {
        return wishes.containsKey(channel);
    }

    /** Wishes for a subscription that does not exist yet. */
    void add(Channel channel, Mode mode, String since) {
        wishes.put(channel, new Wish(mode, since, retry.anew()));
        due.add(channel);
    }

    /** Ends a wish; whether the gateway was asked for it on this connection. */
    boolean remove(Channel channel) {
        Wish wish = wishes.remove(channel);
        return wish != null && (wish.step == Step.ASKED || wish.step == Step.ACTIVE);
    }

    /** A new connection: everything is to be asked for. */
    void startOver() {
        due.clear();
        due.addAll(wishes.keySet());
        wishes.values().forEach(wish -> wish.step = Step.DUE);
    }

    boolean hasDue() {
        return !due.isEmpty();
    }

    /**
     * The next {@code subscribe}, as large as one message may be; {@code null} if nothing is due after all.
     *
     * @param position gives the cursor of a channel that was subscribed before, or {@code null}
     */
    String request(long id, int maxBytes, Function<Channel, String> position) {
        List<MessageWriter.Entry> entries = new ArrayList<>();
        int bytes = MESSAGE_BYTES;
        while (!due.isEmpty()) {
            Channel channel = due.peek();
            Wish wish = wishes.get(channel);
            if (wish == null || wish.step != Step.DUE) {
                due.remove();
                continue;
            }
            String known = position.apply(channel);
            String since = known != null ? known : wish.since;
            bytes += ENTRY_BYTES + channel.toString().length() + (since == null ? 0 : since.length());
            boolean isFull = bytes > maxBytes || entries.size() == MAX_CHANNELS_PER_MESSAGE;
            if (isFull && !entries.isEmpty()) {
                break;
            }
            wish.step = Step.ASKED;
            wish.id = id;
            entries.add(new MessageWriter.Entry(channel.toString(), since, wish.mode));
            due.remove();
        }
        return entries.isEmpty() ? null : MessageWriter.subscribe(new RequestId(id, null), entries, null);
    }

    /** What a {@code subscribed} is to the wish. */
    Confirmed confirm(Channel channel, RequestId id) {
        Wish wish = wishes.get(channel);
        if (wish != null && wish.step == Step.ASKED && id != null && id.is(wish.id)) {
            wish.step = Step.ACTIVE;
            wish.retry.reset();
            return Confirmed.ANSWER;
        }
        // an answer to an earlier request, or one more of the same, has no meaning
        return wish != null && wish.step == Step.ACTIVE && id == null ? Confirmed.ANEW : Confirmed.NOTHING;
    }

    /** The application's own position, which the gateway has taken now; {@code null} if there is none any more. */
    String takeSince(Channel channel) {
        Wish wish = wishes.get(channel);
        String since = wish.since;
        wish.since = null;
        return since;
    }

    /** The channels that a refusal is about: {@code name}, or without one all that were asked for under {@code id}. */
    List<Channel> refused(RequestId id, String name) {
        List<Channel> refused = new ArrayList<>();
        if (id != null) {
            wishes.forEach((channel, wish) -> {
                boolean isNamed = name == null || channel.toString().equals(name);
                if (isNamed && wish.step == Step.ASKED && id.is(wish.id)) {
                    refused.add(channel);
                }
            });
        }
        return refused;
    }

    /** Asks for it again after {@code atLeastMs} and a wait of its back-off; gives both together. */
    long postpone(Channel channel, long now, long atLeastMs, Random random) {
        Wish wish = wishes.get(channel);
        long wait = atLeastMs + wish.retry.draw(random);
        wish.step = Step.LATER;
        wish.at = now + wait;
        return wait;
    }

    /** When the next postponed wish is due. */
    long deadline() {
        long next = NEVER;
        for (Wish wish : wishes.values()) {
            next = wish.step == Step.LATER ? Math.min(next, wish.at) : next;
        }
        return next;
    }

    /** Makes postponed wishes due whose time has come. */
    void tick(long now) {
        wishes.forEach((channel, wish) -> {
            if (wish.step == Step.LATER && wish.at <= now) {
                wish.step = Step.DUE;
                due.add(channel);
            }
        });
    }
}
