package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.Payload;
import java.security.SecureRandom;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A client of odin's gateways: it subscribes to channels and stays subscribed.
 *
 * <p>It comes back by itself, with full jitter, as the close code says; it resumes every subscription where it stopped,
 * drops what comes twice, and tells what is missing. It signs in with a {@link TokenSource}, refreshes in time, and
 * publishes. Everything it keeps is bounded.
 *
 * <p>A client has one thread, which calls all listeners. Methods may be called from any thread, also from listeners.
 *
 * <pre>{@code
 * OdinClient client = OdinClient.connect(ClientOptions.builder("wss://odin.example/ws").build());
 * client.subscribe("price:BTC", update -> System.out.println(update.data()));
 * }</pre>
 */
public final class OdinClient implements AutoCloseable {
    /** How long {@link #close} waits at most. */
    private static final long CLOSE_LIMIT_MS = 2_000;

    private final Session session;
    private final Handlers handlers;
    private final Driver driver;
    private final Set<Channel> held = ConcurrentHashMap.newKeySet();

    private OdinClient(ClientOptions options) {
        // a fleet that starts at one moment must not wait in step
        session = new Session(options, new Random(new SecureRandom().nextLong()));
        handlers = new Handlers(options.listener(), held::remove);
        driver = new Driver(options, session, handlers);
    }

    /**
     * Starts a client. It connects in the background and tells by {@link Event.Connected} or {@link Event.Reconnecting}
     * what came of it.
     *
     * @param options how to connect
     * @return the client
     */
    public static OdinClient connect(ClientOptions options) {
        OdinClient client = new OdinClient(options);
        client.driver.start();
        return client;
    }

    /**
     * Subscribes from now on, in the channel's own mode.
     *
     * @param channel name or pattern
     * @param listener hears of it
     * @return the subscription
     * @throws IllegalArgumentException if the channel breaks the grammar
     * @throws IllegalStateException if it is subscribed already, or the client has ended
     */
    public Subscription subscribe(String channel, ChannelListener listener) {
        return subscribe(channel, Subscription.Options.defaults(), listener);
    }

    /**
     * Subscribes. It is asked for again by itself after every reconnect, from where it stopped.
     *
     * @param channel name or pattern
     * @param options position and mode
     * @param listener hears of it
     * @return the subscription
     * @throws IllegalArgumentException if the channel breaks the grammar
     * @throws IllegalStateException if it is subscribed already, or the client has ended
     */
    public Subscription subscribe(String channel, Subscription.Options options, ChannelListener listener) {
        Channel parsed = Channel.parse(channel);
        Objects.requireNonNull(listener);
        if (!held.add(parsed)) {
            throw new IllegalStateException(channel + " is subscribed already");
        }
        boolean isTaken = driver.command(() -> {
            handlers.put(parsed, listener);
            session.subscribe(parsed, options.mode(), options.since());
        });
        if (!isTaken) {
            throw new IllegalStateException("client is closed");
        }
        return new Subscription(this, parsed);
    }

    void unsubscribe(Channel channel) {
        if (held.remove(channel)) {
            driver.command(() -> {
                handlers.remove(channel);
                session.unsubscribe(channel);
            });
        }
    }

    CompletableFuture<String> cursor(Channel channel) {
        CompletableFuture<String> answer = new CompletableFuture<>();
        boolean isTaken = driver.command(() -> answer.complete(session.cursors.since(channel)));
        if (!isTaken) {
            answer.complete(null);
        }
        return answer;
    }

    /**
     * Publishes one JSON value, where the gateway allows it. Without a connection, or before the client has signed in, it
     * waits. At most 16 are under way.
     *
     * @param channel not a pattern
     * @param json one JSON value
     * @return completed on the client's thread when the stream has stored it; exceptionally with
     *     {@link PublishException}. After {@link PublishException.Kind#UNKNOWN} it may be stored or not: it is never sent
     *     a second time
     */
    public CompletableFuture<Published> publish(String channel, String json) {
        CompletableFuture<Published> outcome = new CompletableFuture<>();
        try {
            Payload.check(json);
            if (Channel.parse(channel).isPattern()) {
                throw new IllegalArgumentException("a pattern is many channels");
            }
        } catch (IllegalArgumentException invalid) {
            PublishException why = new PublishException(PublishException.Kind.INVALID, invalid.getMessage());
            outcome.completeExceptionally(why);
            return outcome;
        }
        if (!driver.command(() -> session.publish(channel, json, outcome))) {
            outcome.completeExceptionally(new PublishException(PublishException.Kind.CLOSED, "client is closed"));
        }
        return outcome;
    }

    /**
     * How the client stands with its gateway at this moment.
     *
     * @return the state
     */
    public State state() {
        return driver.state();
    }

    /**
     * Says goodbye to the gateway and ends the client. Returns when it has ended, after two seconds at most; on the
     * client's own thread at once. Publications without an answer end with {@link PublishException}.
     */
    @Override
    public void close() {
        driver.close(CLOSE_LIMIT_MS);
    }
}
