package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.MessageReader;
import dev.odin.client.protocol.ProtocolException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;

/** A session, its clock (milliseconds, which a test moves) and its events. */
final class Bench {
    static final String HELLO = "{\"type\":\"connection:status\",\"status\":\"connected\",\"connectionId\":\"1\","
            + "\"heartbeatMs\":25000,\"connectedClients\":1,\"maxMessageBytes\":65536}";

    final Session session;
    long now;
    /** Why the session has left the connection by itself. */
    Parting left;

    Bench(ClientOptions options, long seed) {
        // the first draws of neighbouring seeds are nearly the same
        session = new Session(options, new Random(seed * 0x9E3779B97F4A7C15L));
    }

    Bench() {
        this(options().build(), 7);
    }

    /** One that signs in; a test gives the tokens. */
    static Bench withTokens(long seed) {
        return new Bench(options().tokens(CompletableFuture::new).build(), seed);
    }

    static ClientOptions.Builder options() {
        return ClientOptions.builder("ws://127.0.0.1/ws");
    }

    Bench connect() {
        session.opened();
        return hear(HELLO);
    }

    Bench wish(String channel) {
        session.subscribe(Channel.parse(channel), null, null);
        return this;
    }

    Bench hear(String json) {
        try {
            session.heard(now);
            // the time of day began with the test
            left = session.receive(now, now, MessageReader.read(json));
            return this;
        } catch (ProtocolException unreadable) {
            throw new AssertionError(json, unreadable);
        }
    }

    Bench update(String channel, long prev, long seq) {
        return hear("{\"type\":\"update\",\"channel\":\"" + channel + "\",\"seq\":" + seq + ",\"prev\":" + prev
                + ",\"ts\":" + seq + ",\"epoch\":\"k3j9x2m4\",\"data\":1}");
    }

    /** Answers the request that was last said. */
    Bench subscribed(long id, String channel, String rest) {
        return hear("{\"type\":\"subscribed\",\"id\":" + id + ",\"channel\":\"" + channel + "\"," + rest + "}");
    }

    /** Gives the token that is wanted. */
    Bench token(String token) {
        left = session.token(now, token);
        return this;
    }

    /** Lets so much time pass. */
    Bench pass(long millis) {
        now += millis;
        left = session.tick(now);
        return this;
    }

    /** Goes to the next moment at which something is due; gives how long that was. */
    long passUntilDue() {
        long wait = session.deadline() - now;
        pass(wait);
        return wait;
    }

    /** Everything that the session wants to say. */
    List<String> said() {
        List<String> said = new ArrayList<>();
        for (String message = session.outgoing(now); message != null; message = session.outgoing(now)) {
            said.add(message);
        }
        return said;
    }

    Plan parted(int code) {
        return session.parted(now, Parting.closed(code, ""));
    }

    /** The events so far, which are forgotten. */
    List<Event> events() {
        List<Event> events = new ArrayList<>();
        for (Event event = session.nextEvent(); event != null; event = session.nextEvent()) {
            events.add(event);
        }
        return events;
    }

    /** The last event so far; all are forgotten. */
    Event last() {
        List<Event> events = events();
        return events.isEmpty() ? null : events.get(events.size() - 1);
    }
}
