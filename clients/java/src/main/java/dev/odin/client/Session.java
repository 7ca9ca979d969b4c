package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.CloseCode;
import dev.odin.client.protocol.MessageWriter;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.Reconnect;
import dev.odin.client.protocol.RequestId;
import dev.odin.client.protocol.ServerMessage;
import java.net.URI;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;

/**
 * The client's state machine: what to ask, what to tell the application, when to give up on a connection, when to come
 * back.
 *
 * <p>It does no I/O and looks at no clock: time (monotonic, in milliseconds), messages and ends of connections are given
 * to it, and it gives back messages, events and plans. {@link Driver} carries them out, on one thread.
 */
final class Session {
    private static final long NEVER = Long.MAX_VALUE;

    private enum Phase {
        AWAY,
        /** Connected, and the gateway has not said hello. */
        GREETING,
        LIVE
    }

    private final List<URI> urls;
    private final long stableAfterMs;
    final Random random;
    private final Backoff backoff;
    private int url;
    private Phase phase = Phase.AWAY;
    /** Only in {@link Phase#LIVE}. */
    Link link;
    /** Partings since a connection was last stable. */
    private int attempt;
    private long connections;
    final Auth auth;
    final Wanted wanted;
    final Publishes publishes;
    final CursorMap cursors = new CursorMap();
    /** Unsubscribed, and the gateway has not answered. */
    final List<Channel> leaving = new ArrayList<>();
    private final Deque<String> outgoing = new ArrayDeque<>();
    private long lastId;
    /** What the application is to be told. */
    final Deque<Event> events = new ArrayDeque<>();
    private final Receiver receiver = new Receiver(this);

    /** {@code random} decides about every wait. */
    Session(ClientOptions options, Random random) {
        urls = options.urls();
        stableAfterMs = options.stableAfter().toMillis();
        this.random = random;
        backoff = new Backoff(options.backoffBase().toMillis(), options.backoffCap().toMillis());
        auth = new Auth(options.tokens() != null, options.connectTimeout().toMillis(), backoff.anew());
        wanted = new Wanted(backoff.anew());
        publishes = new Publishes(options.publishQueue());
    }

    /** The next thing to tell the application, in order; {@code null} if there is none. */
    Event nextEvent() {
        return events.poll();
    }

    /** Which address to dial. */
    URI url() {
        return urls.get(url);
    }

    /** Whether there is anything to connect for after {@link Plan.Kind#SLEEP}. */
    boolean isWanting() {
        return !wanted.isEmpty() || !publishes.isEmpty();
    }

    /** Whether the application wants a channel. */
    boolean isWanted(String channel) {
        return Channel.isValid(channel) && wanted.contains(Channel.parse(channel));
    }

    /** Whether the gateway has said hello. */
    boolean isLive() {
        return phase == Phase.LIVE;
    }

    void publish(String channel, String data, CompletableFuture<Published> outcome) {
        publishes.add(channel, data, outcome);
    }

    /** Wishes for a subscription; it must not exist. */
    void subscribe(Channel channel, Mode mode, String since) {
        wanted.add(channel, mode, since);
    }

    void unsubscribe(Channel channel) {
        boolean wasAsked = wanted.remove(channel);
        cursors.end(channel);
        if (wasAsked && isLive()) {
            outgoing.add(MessageWriter.unsubscribe(nextId(), List.of(channel.toString())));
            leaving.add(channel);
        } else {
            events.add(new Event.Unsubscribed(channel.toString()));
        }
    }

    /** A connection is open; the gateway is to say hello within the connect timeout. */
    void opened() {
        phase = Phase.GREETING;
    }

    /** The gateway has said hello; only the first one counts. */
    void greeted(long now, ServerMessage.Status status) {
        if (phase != Phase.GREETING) {
            return;
        }
        phase = Phase.LIVE;
        link = new Link(now, status);
        wanted.startOver();
        events.add(new Event.Connected(url(), status, connections));
        connections += 1;
    }

    /** A message of the gateway; the reason to leave, if there is one now. {@code wall} is the time of day. */
    Parting receive(long now, long wall, ServerMessage message) {
        return receiver.receive(now, wall, message);
    }

    /** Whether the source of tokens is to be asked. */
    boolean wantsToken() {
        return auth.wantsToken();
    }

    /** The source gave a token; the reason to leave, if there is one now. */
    Parting token(long now, String token) {
        return setBack(auth.given(now, token, random));
    }

    /** The source gave none; {@code cause} must not hold a secret. */
    Parting noToken(long now, String cause) {
        return setBack(auth.none(now, cause, random));
    }

    /** Tells the application of a try to sign in that failed, or gives the reason to leave. */
    Parting setBack(Auth.Setback setback) {
        if (setback == null) {
            return null;
        }
        Long retryAfterMs = null;
        switch (setback.then()) {
            case LEAVE:
                return Parting.notSignedIn(setback.why());
            case ASK_ANEW:
                retryAfterMs = 0L;
                break;
            case RETRY:
                retryAfterMs = setback.waitMs();
                break;
            default:
                break;
        }
        events.add(new Event.AuthFailed(setback.why(), retryAfterMs, auth.isSignedIn()));
        return null;
    }

    /**
     * The next message to send; {@code null} if there is none. A token goes before everything else, and nothing that
     * needs it goes before the gateway has accepted it.
     */
    String outgoing(long now) {
        if (!isLive()) {
            return null;
        }
        if (auth.hasMessage()) {
            return auth.message(now, nextId().number());
        }
        if (!outgoing.isEmpty()) {
            return outgoing.remove();
        }
        if (!auth.isOpen()) {
            return null;
        }
        if (wanted.hasDue()) {
            String request = wanted.request(nextId().number(), link.maxRequestBytes(), cursors::since);
            if (request != null) {
                return request;
            }
        }
        return publishes.hasMessage(now) ? publishes.message(now, nextId().number(), link.maxMessageBytes()) : null;
    }

    private RequestId nextId() {
        lastId += 1;
        return new RequestId(lastId, null);
    }

    /** Anything came. */
    void heard(long now) {
        if (isLive()) {
            link.heard(now);
        }
    }

    /** Reading goes on after it stood still for the application's sake: silence meanwhile proves nothing. */
    void listensAgain(long now) {
        heard(now);
        auth.waitAnew(now);
        publishes.waitAnew(now);
    }

    /** When {@link #tick} has something to do. The wait for the hello is the driver's. */
    long deadline() {
        if (!isLive()) {
            return NEVER;
        }
        long requests = Math.min(wanted.deadline(), Math.min(auth.deadline(), publishes.deadline()));
        return Math.min(link.deadline(), requests);
    }

    /** Time has passed; the reason to leave, if there is one now. */
    Parting tick(long now) {
        if (!isLive()) {
            return null;
        }
        wanted.tick(now);
        publishes.tick(now);
        Parting why = setBack(auth.tick(now, random));
        if (why != null) {
            return why;
        }
        switch (link.due(now)) {
            case SILENT:
                return Parting.of(Parting.Kind.SILENT, "no sign of life for " + link.silenceMs() + " ms");
            case DRAINED:
                return Parting.of(Parting.Kind.DRAINED, "left a draining gateway");
            case PING:
                RequestId id = nextId();
                link.pinged(id.number());
                outgoing.add(MessageWriter.ping(id));
                return null;
            default:
                return null;
        }
    }

    /** There is no connection any more, or there was none to be had. */
    Plan parted(long now, Parting why) {
        boolean isUnauthorized = why.is(CloseCode.UNAUTHORIZED);
        Reconnect reconnect = isUnauthorized && auth.unauthorized() ? Reconnect.SOON : why.reconnect();
        if (isLive() && auth.isOpen() && link.age(now) >= stableAfterMs) {
            attempt = 0;
            backoff.reset();
        }
        phase = Phase.AWAY;
        link = null;
        auth.away();
        outgoing.clear();
        cursors.disconnect();
        publishes.disconnect();
        url = (url + 1) % urls.size();
        leaving.forEach(channel -> events.add(new Event.Unsubscribed(channel.toString())));
        leaving.clear();
        switch (reconnect) {
            case NEVER:
                publishes.end();
                events.add(new Event.Closed(why));
                return new Plan(Plan.Kind.END, 0);
            case LATER:
                backoff.bePatient();
                break;
            default:
                if (why.is(CloseCode.IDLE) && !isWanting()) {
                    events.add(new Event.Idle());
                    return new Plan(Plan.Kind.SLEEP, 0);
                }
        }
        attempt += 1;
        long after = why.retryAfterMs() + backoff.draw(random);
        events.add(new Event.Reconnecting(attempt, after, why));
        return new Plan(Plan.Kind.DIAL, after);
    }
}
