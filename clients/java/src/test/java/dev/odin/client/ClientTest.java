package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.odin.client.protocol.Update;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The client's thread and its listeners, over a wire that the test holds. */
@Timeout(60)
class ClientTest {
    private static final String SUBSCRIBED = "{\"type\":\"subscribed\",\"id\":%d,\"channel\":\"%s\",\"mode\":\"all\","
            + "\"recovered\":false,\"cursor\":\"1.k3j9x2m4.1.1\"}";
    private static final String UPDATE = "{\"type\":\"update\",\"channel\":\"%s\",\"seq\":%d,\"prev\":%d,\"ts\":1,"
            + "\"epoch\":\"k3j9x2m4\",\"data\":1}";

    private final FakeTransport transport = new FakeTransport();
    private final Recorder recorder = new Recorder();

    private ClientOptions.Builder options() {
        return Bench.options().transport(transport).listener(recorder)
                .backoff(Duration.ofMillis(1), Duration.ofMillis(5));
    }

    @Test
    void everySubscriptionHearsOfWhatIsItsOwn() throws Exception {
        List<Long> exact = new CopyOnWriteArrayList<>();
        List<Long> pattern = new CopyOnWriteArrayList<>();
        List<Event> told = new CopyOnWriteArrayList<>();
        try (OdinClient client = OdinClient.connect(options().build())) {
            Subscription btc = client.subscribe("price:BTC", new ChannelListener() {
                @Override
                public void onUpdate(Update update) {
                    exact.add(update.seq());
                }

                @Override
                public void onEvent(Event event) {
                    told.add(event);
                }
            });
            client.subscribe("price:*", update -> pattern.add(update.seq()));
            assertThrows(IllegalStateException.class, () -> client.subscribe("price:BTC", update -> { }));
            FakeTransport.Wire wire = transport.greet(25_000);
            wire.said();
            wire.listener.onText(SUBSCRIBED.formatted(1, "price:BTC"));
            wire.listener.onText(SUBSCRIBED.formatted(1, "price:*"));
            wire.listener.onText(UPDATE.formatted("price:BTC", 5, 0));
            wire.listener.onText(UPDATE.formatted("price:ETH", 6, 0));
            wire.listener.onText("{\"type\":\"gap\",\"channel\":\"price:*\",\"after\":6,\"until\":8,\"reason\":\"removed\"}");
            wire.listener.onText("{\"type\":\"stale\",\"reason\":\"bus_lost\"}");
            recorder.next(Event.Stale.class);
            assertEquals(List.of(5L), exact);
            assertEquals(List.of(5L, 6L), pattern);
            assertEquals("1.k3j9x2m4.5.1", btc.cursor().get(5, TimeUnit.SECONDS));
            btc.unsubscribe();
            assertEquals("{\"type\":\"unsubscribe\",\"id\":2,\"channels\":[\"price:BTC\"]}", wire.said());
            wire.listener.onText(UPDATE.formatted("price:BTC", 9, 8));
            recorder.next(Event.Updated.class, event -> event.update().seq() == 9);
            assertEquals(List.of(5L), exact, "nothing after unsubscribe");
            assertEquals(List.of(Event.Subscribed.class, Event.Gap.class, Event.Stale.class, Event.Unsubscribed.class),
                    told.stream().map(Object::getClass).toList());
            client.subscribe("price:BTC", update -> { });
            assertTrue(wire.said().contains("price:BTC"), "it may be subscribed again");
        }
    }

    @Test
    void aListenerThatThrowsAndOneThatCallsTheClientDoNoHarm() throws Exception {
        try (OdinClient client = OdinClient.connect(options().build())) {
            CompletableFuture<State> inside = new CompletableFuture<>();
            client.subscribe("price:BTC", update -> {
                inside.complete(client.state());
                client.subscribe("price:T" + update.seq(), other -> { });
                throw new IllegalStateException("thrown by a test: this is in the log on purpose");
            });
            FakeTransport.Wire wire = transport.greet(25_000);
            wire.said();
            wire.listener.onText(SUBSCRIBED.formatted(1, "price:BTC"));
            wire.listener.onText(UPDATE.formatted("price:BTC", 5, 0));
            assertEquals("{\"type\":\"subscribe\",\"id\":2,\"channels\":[\"price:T5\"]}", wire.said());
            assertEquals(State.LIVE, inside.get());
            wire.listener.onText(UPDATE.formatted("price:BTC", 6, 5));
            assertTrue(wire.said().contains("price:T6"));
        }
    }

    /** Checklist 32, from the other side: a slow application is no silent gateway. */
    @Test
    void aSlowListenerDoesNotEndTheConnection() throws Exception {
        CountDownLatch goOn = new CountDownLatch(1);
        try (OdinClient client = OdinClient.connect(options().build())) {
            client.subscribe("price:BTC", update -> {
                try {
                    goOn.await();
                } catch (InterruptedException interrupted) {
                    throw new IllegalStateException(interrupted);
                }
            });
            FakeTransport.Wire wire = transport.greet(1_000);
            wire.said();
            wire.listener.onText(SUBSCRIBED.formatted(1, "price:BTC"));
            wire.listener.onText(UPDATE.formatted("price:BTC", 5, 0));
            // more than two heartbeats in which nothing can be heard
            Thread.sleep(2_500);
            goOn.countDown();
            recorder.next(Event.Updated.class);
            wire.listener.onText("{\"type\":\"live\"}");
            recorder.next(Event.Live.class);
            assertTrue(recorder.all(Event.Reconnecting.class).isEmpty());
        }
    }

    @Test
    void stopsWithAGoodbyeAndTellsWhatBecameOfEverything() throws Exception {
        OdinClient client = OdinClient.connect(options().build());
        FakeTransport.Wire wire = transport.greet(25_000);
        CompletableFuture<Published> open = client.publish("chat:lobby", "1");
        wire.said();
        client.close();
        assertEquals("close 1000", wire.said());
        assertEquals(State.CLOSED, client.state());
        assertEquals(Parting.Kind.ASKED, recorder.next(Event.Closed.class).why().kind());
        assertEquals(PublishException.Kind.UNKNOWN, kind(open));
        assertEquals(PublishException.Kind.CLOSED, kind(client.publish("chat:lobby", "1")));
        assertThrows(IllegalStateException.class, () -> client.subscribe("price:BTC", update -> { }));
        client.close();
    }

    private static PublishException.Kind kind(CompletableFuture<Published> outcome) {
        ExecutionException failed = assertThrows(ExecutionException.class, () -> outcome.get(5, TimeUnit.SECONDS));
        return ((PublishException) failed.getCause()).kind();
    }

    @Test
    void whatCannotBePublishedIsRefusedAtOnce() {
        try (OdinClient client = OdinClient.connect(options().build())) {
            assertEquals(PublishException.Kind.INVALID, kind(client.publish("price:*", "1")));
            assertEquals(PublishException.Kind.INVALID, kind(client.publish("not a channel", "1")));
            assertEquals(PublishException.Kind.INVALID, kind(client.publish("chat:lobby", "1 2")));
        }
    }

    /** Checklist 35: what is no message ends the connection, and the client comes back later. */
    @Test
    void leavesWhoeverDoesNotSpeakTheProtocol() throws Exception {
        try (OdinClient client = OdinClient.connect(options().build())) {
            FakeTransport.Wire wire = transport.greet(25_000);
            wire.listener.onText("{\"type\":\"subscribed\"");
            assertEquals("abort", wire.said());
            Parting why = recorder.next(Event.Reconnecting.class).why();
            assertEquals("not an odin gateway: message is not JSON", why.toString());
            transport.next().listener.onOpen("another");
            assertEquals(Parting.Kind.PROTOCOL, recorder.next(Event.Reconnecting.class).why().kind());
            assertFalse(client.state() == State.CLOSED);
        }
    }

    @Test
    void aGatewayThatSaysNoHelloIsLeft() throws Exception {
        try (OdinClient client = OdinClient.connect(options().connectTimeout(Duration.ofMillis(50)).build())) {
            transport.next().listener.onOpen(Driver.PROTOCOL);
            assertEquals(Parting.Kind.TIMEOUT, recorder.next(Event.Reconnecting.class).why().kind());
            assertEquals(List.of(), recorder.all(Event.Connected.class));
            assertFalse(client.state() == State.LIVE);
        }
    }

    /** Checklist 17: what a source of tokens throws may hold a secret. */
    @Test
    void aSourceThatFailsOrIsSlowIsToldByItsClassOnly() throws Exception {
        TokenSource failing = TokenSource.blocking(() -> {
            throw new IOException("secret");
        });
        try (OdinClient client = OdinClient.connect(options().tokens(failing).build())) {
            assertEquals("no token: IOException", recorder.next(Event.Reconnecting.class).why().toString());
            assertFalse(client.state() == State.LIVE);
        }
        TokenSource slow = CompletableFuture::new;
        try (OdinClient client = OdinClient.connect(options().tokens(slow).tokenTimeout(Duration.ofMillis(20)).build())) {
            String why = recorder.next(Event.Reconnecting.class, event -> !event.why().toString().contains("IO")).why().toString();
            assertEquals("no token: no answer of its source in time", why);
            assertFalse(client.state() == State.LIVE);
        }
        TokenSource bad = () -> CompletableFuture.completedFuture("secret secret");
        try (OdinClient client = OdinClient.connect(options().tokens(bad).build())) {
            String why = recorder.next(Event.Reconnecting.class, event -> event.why().toString().contains("character")).why().toString();
            assertEquals("no token: the token has a character that no token has", why);
            assertFalse(client.state() == State.LIVE);
        }
        assertFalse(recorder.all().toString().contains("secret"));
    }
}
