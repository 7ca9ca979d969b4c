package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.Cursor;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.ResumeReason;
import dev.odin.client.protocol.Update;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/**
 * Where every subscription stands: its chains, and the position to come back to.
 *
 * <p>It drops what was delivered before, says what is missing, and gives the {@code since} of the next
 * {@code subscribe}. It knows neither sockets nor time. What it keeps survives the connection: that is its purpose.
 */
final class CursorMap {
    /** Most chains kept. Updates of further ones are delivered unchecked: a gateway cannot fill the memory. */
    static final int MAX_CHAINS = 65_536;
    /** Longest key of an update, in characters. A longer one breaks the protocol, and is not kept. */
    static final int MAX_KEY = 256;

    /** What to do with an update. */
    enum Kind {
        DELIVER,
        /** Deliver it; publications before it were merged into it, as mode {@code latest} allows. */
        MERGED,
        /** Deliver it, after saying what is missing although nobody announced it. */
        MISSING,
        /** Drop it: it was delivered before, as it may be where a subscription begins or is resumed. */
        OVERLAP,
        /** Drop it: it was delivered before, and nothing excuses that. */
        REPEATED,
        /** Drop it: no subscription covers its channel. */
        STRAY
    }

    /** A {@link Kind} with what is missing: {@code after < seq <= until}. */
    record Judgement(Kind kind, long after, long until) {
        private static Judgement of(Kind kind) {
            return new Judgement(kind, 0, 0);
        }

        private static final Judgement DELIVER = of(Kind.DELIVER);
        private static final Judgement MERGED = of(Kind.MERGED);
        private static final Judgement OVERLAP = of(Kind.OVERLAP);
        private static final Judgement REPEATED = of(Kind.REPEATED);
        private static final Judgement STRAY = of(Kind.STRAY);
    }

    /** A subscription that the gateway has confirmed at least once. */
    private static final class Track {
        private Mode mode;
        /** The last position that the gateway named, as it wrote it. */
        private String position;
        /** Confirmed on this connection. */
        private boolean isConfirmed;
        /** Several chains: a pattern, or updates with a key. */
        private boolean isWide;
    }

    /** The chains of one concrete channel. */
    private static final class Line {
        private Mode mode;
        private Chain chain;
        private final Map<String, Chain> keyed = new HashMap<>(0);

        private Line(Mode mode) {
            this.mode = mode;
        }

        private Collection<Chain> chains() {
            List<Chain> all = new ArrayList<>(keyed.values());
            if (chain != null) {
                all.add(chain);
            }
            return all;
        }
    }

    private final Map<Channel, Track> tracks = new HashMap<>();
    private final Map<String, Line> lines = new HashMap<>();
    private int chains;

    /**
     * {@code subscribed}: a subscription begins or continues.
     *
     * @return whether it had begun before and does not continue: then publications may be missing
     */
    boolean begin(Channel channel, Mode mode, boolean recovered, ResumeReason reason, String cursor) {
        boolean isRenumbered = reason == ResumeReason.EPOCH_CHANGED || reason == ResumeReason.ROLLED_BACK;
        boolean isKnown = tracks.containsKey(channel);
        Track track = tracks.computeIfAbsent(channel, name -> new Track());
        track.mode = mode;
        track.isConfirmed = true;
        track.isWide |= channel.isPattern();
        // In mode latest nothing is lost by beginning again, but the snapshot that follows would be, if the connection
        // ended before it has come: a resume brings none. The next checkpoint is behind it.
        boolean hasSnapshot = !recovered && mode == Mode.LATEST;
        String position = cursor != null && Cursor.isPossible(cursor) && !hasSnapshot ? cursor : null;
        if (isRenumbered) {
            // nobody comes back to a stream that is gone, nor does a channel that begins under its pattern
            tracks.forEach((name, other) -> {
                if (channel.covers(name)) {
                    other.position = position;
                }
            });
            track.position = position;
        } else if (position != null) {
            track.position = position;
        }
        forEachCovered(channel, (name, line) -> {
            Mode inForce = modeOf(name);
            line.mode = inForce == null ? mode : inForce;
            for (Chain chain : line.chains()) {
                if (recovered) {
                    chain.resume();
                } else if (isRenumbered) {
                    chain.forget();
                } else {
                    chain.open();
                }
            }
            if (position != null && line.chain != null && name.equals(channel.toString())) {
                line.chain.supersede(Cursor.parse(position));
            }
        });
        return !recovered && (isKnown || reason != null);
    }

    /** The subscription has ended: chains that no other one covers are forgotten. */
    void end(Channel channel) {
        tracks.remove(channel);
        for (Iterator<Map.Entry<String, Line>> all = lines.entrySet().iterator(); all.hasNext();) {
            Map.Entry<String, Line> entry = all.next();
            Mode mode = modeOf(entry.getKey());
            if (mode == null) {
                chains -= entry.getValue().chains().size();
                all.remove();
            } else {
                entry.getValue().mode = mode;
            }
        }
    }

    /** The connection has ended: nothing is confirmed any more, and every chain is kept. */
    void disconnect() {
        tracks.values().forEach(track -> track.isConfirmed = false);
    }

    /** {@code update}: decides about it and moves its chain on. */
    Judgement update(Update update) {
        if (update.key() != null && update.key().length() > MAX_KEY) {
            return Judgement.STRAY;
        }
        Line line = lines.get(update.channel());
        if (line == null) {
            Mode mode = modeOf(update.channel());
            if (mode == null) {
                return Judgement.STRAY;
            }
            if (chains >= MAX_CHAINS) {
                return Judgement.DELIVER;
            }
            line = new Line(mode);
            lines.put(update.channel(), line);
        }
        Chain chain = update.key() == null ? line.chain : line.keyed.get(update.key());
        if (chain == null) {
            start(line, update);
            return Judgement.DELIVER;
        }
        Chain.Verdict verdict = chain.accept(update);
        switch (verdict.kind()) {
            case NEXT:
                return Judgement.DELIVER;
            case OVERLAP:
                return Judgement.OVERLAP;
            case REPEATED:
                return Judgement.REPEATED;
            default:
                return line.mode == Mode.LATEST ? Judgement.MERGED
                        : new Judgement(Kind.MISSING, verdict.after(), verdict.until());
        }
    }

    private void start(Line line, Update update) {
        if (update.key() != null) {
            Track track = Channel.isValid(update.channel()) ? tracks.get(Channel.parse(update.channel())) : null;
            if (track != null) {
                track.isWide = true;
            }
        }
        if (chains >= MAX_CHAINS) {
            return;
        }
        chains += 1;
        if (update.key() == null) {
            line.chain = new Chain(update);
        } else {
            line.keyed.put(update.key(), new Chain(update));
        }
    }

    /**
     * {@code gap}: publications of a channel, or of all channels of a pattern, were left out.
     *
     * @return whether a subscription has to do with it
     */
    boolean gap(Channel channel, String key, long until) {
        forEachCovered(channel, (name, line) -> {
            if (key == null) {
                line.chains().forEach(chain -> chain.leaveOut(until));
            } else if (line.keyed.containsKey(key)) {
                line.keyed.get(key).leaveOut(until);
            }
        });
        return tracks.containsKey(channel) || modeOf(channel.toString()) != null;
    }

    /**
     * {@code checkpoint}: every subscription confirmed on this connection has everything up to this position.
     *
     * @return whether it can be a cursor
     */
    boolean checkpoint(String cursor) {
        if (!Cursor.isPossible(cursor)) {
            return false;
        }
        Cursor told = Cursor.parse(cursor);
        tracks.forEach((channel, track) -> {
            Line line = lines.get(channel.toString());
            if (track.isConfirmed) {
                track.position = cursor;
                if (line != null && line.chain != null) {
                    line.chain.supersede(told);
                }
            }
        });
        return true;
    }

    /**
     * The {@code since} with which the subscription would continue without loss: of an exact channel the last update or
     * the last position that the gateway named, whichever is further; of several chains always the latter.
     *
     * @return {@code null} where nothing is known
     */
    String since(Channel channel) {
        Track track = tracks.get(channel);
        if (track == null) {
            return null;
        }
        Line line = track.isWide ? null : lines.get(channel.toString());
        Cursor last = line == null || line.chain == null ? null : line.chain.position();
        return last == null ? track.position : last.toString();
    }

    /** Chains kept. */
    int chains() {
        return chains;
    }

    /** The mode of a concrete channel: {@code all} if any subscription that covers it says so; {@code null} if none does. */
    private Mode modeOf(String name) {
        if (!Channel.isValid(name)) {
            return null;
        }
        Channel channel = Channel.parse(name);
        Track exact = tracks.get(channel);
        String pattern = channel.coveringPattern();
        Track wide = pattern == null ? null : tracks.get(Channel.parse(pattern));
        if (exact == null || wide == null) {
            return exact != null ? exact.mode : wide != null ? wide.mode : null;
        }
        return exact.mode == Mode.ALL ? Mode.ALL : wide.mode;
    }

    private interface Visit {
        void visit(String name, Line line);
    }

    /** The lines that a subscription covers. */
    private void forEachCovered(Channel channel, Visit visit) {
        if (!channel.isPattern()) {
            // an exact channel has one line: no need to look at all of them
            Line line = lines.get(channel.toString());
            if (line != null) {
                visit.visit(channel.toString(), line);
            }
            return;
        }
        lines.forEach((name, line) -> {
            if (channel.covers(Channel.parse(name))) {
                visit.visit(name, line);
            }
        });
    }
}
