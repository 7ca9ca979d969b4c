package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.odin.client.protocol.ErrorCode;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.StaleReason;
import dev.odin.client.protocol.Update;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The client against real gateways and a real nats-server. */
@Timeout(120)
class StageTest {
    private static final String BTC = "odin.tokens.BTC.price";

    private static ClientOptions.Builder options(Stage stage, Recorder recorder) {
        return ClientOptions.builder(stage.url())
                .backoff(Duration.ofMillis(50), Duration.ofMillis(500))
                .listener(recorder);
    }

    @Test
    void aKilledGatewayCostsNeitherAnUpdateNorADuplicate() throws Exception {
        Recorder recorder = new Recorder();
        List<Long> got = new ArrayList<>();
        try (Stage stage = Stage.start(2); OdinClient client = OdinClient.connect(options(stage, recorder).build())) {
            Subscription.Options every = Subscription.Options.defaults().mode(Mode.ALL);
            client.subscribe("price:BTC", every, update -> got.add(update.seq()));
            recorder.next(Event.Subscribed.class);
            List<Long> stored = new ArrayList<>();
            for (int round = 0; round < 4; round++) {
                int occupied = stage.occupied();
                stored.add(stage.publish(BTC, Map.of("price", round)));
                stage.order("kill_gateway", "index", occupied);
                for (int price = 0; price < 20; price++) {
                    stored.add(stage.publish(BTC, Map.of("price", price)));
                }
                recorder.next(Event.Subscribed.class);
                stored.add(stage.publish(BTC, Map.of("price", round)));
                stage.order("start_gateway", "index", occupied);
            }
            long last = stored.get(stored.size() - 1);
            recorder.next(Event.Updated.class, event -> event.update().seq() == last);
            assertEquals(stored, got);
        }
        assertTrue(recorder.all(Event.Gap.class).isEmpty() && recorder.all(Event.Repeated.class).isEmpty());
        for (Event.Subscribed subscribed : recorder.all(Event.Subscribed.class)) {
            assertFalse(subscribed.isAnew(), subscribed.toString());
        }
    }

    @Test
    void aPatternResumesFromItsCheckpointOnAnotherGateway() throws Exception {
        Recorder recorder = new Recorder();
        List<Update> got = new ArrayList<>();
        try (Stage stage = Stage.start(2); OdinClient client = OdinClient.connect(options(stage, recorder).build())) {
            Subscription.Options every = Subscription.Options.defaults().mode(Mode.ALL);
            Subscription prices = client.subscribe("price:*", every, got::add);
            recorder.next(Event.Subscribed.class);
            List<Long> stored = new ArrayList<>();
            for (int price = 0; price < 30; price++) {
                stored.add(stage.publish("odin.tokens.T" + price % 3 + ".price", Map.of("price", price)));
                if (price == 15) {
                    Event.Checkpoint checkpoint = recorder.next(Event.Checkpoint.class);
                    assertEquals(checkpoint.cursor(), prices.cursor().get(5, TimeUnit.SECONDS));
                }
                if (price == 20) {
                    stage.order("drain_gateway", "index", stage.occupied());
                    recorder.next(Event.Draining.class);
                    assertTrue(recorder.next(Event.Subscribed.class).recovered());
                }
            }
            long last = stored.get(stored.size() - 1);
            recorder.next(Event.Updated.class, event -> event.update().seq() == last);
            assertEquals(stored, got.stream().map(Update::seq).sorted().toList(), "each once, in the order of its chain");
        }
        assertTrue(recorder.all(Event.Gap.class).isEmpty());
    }

    @Test
    void withoutNatsValuesAreStaleAndWhatWasMissedComesBeforeLive() throws Exception {
        Recorder recorder = new Recorder();
        try (Stage stage = Stage.start(1); OdinClient client = OdinClient.connect(options(stage, recorder).build())) {
            client.subscribe("price:BTC", update -> { });
            recorder.next(Event.Subscribed.class);
            long before = stage.publish(BTC, Map.of("price", 1));
            recorder.next(Event.Updated.class, event -> event.update().seq() == before);
            stage.order("stop_nats");
            assertEquals(StaleReason.BUS_LOST, recorder.next(Event.Stale.class).reason());
            assertEquals(State.LIVE, client.state(), "the connection stays");
            stage.order("start_nats");
            recorder.next(Event.Live.class);
            long after = stage.publish(BTC, Map.of("price", 2));
            Update update = recorder.next(Event.Updated.class).update();
            assertEquals(List.of(after, before), List.of(update.seq(), update.prev()));
        }
        assertTrue(recorder.all(Event.Reconnecting.class).isEmpty());
    }

    @Test
    void signsInRefreshesPublishesAndGetsWhatIsTheUsersOwn() throws Exception {
        Recorder recorder = new Recorder();
        TokenSource tokens = TokenSource.blocking(() -> Stage.token("ada", 4));
        try (Stage stage = Stage.start(1);
                OdinClient client = OdinClient.connect(options(stage, recorder).tokens(tokens).build())) {
            client.subscribe("trades", update -> { });
            client.subscribe("chat:lobby", update -> { });
            assertEquals("ada", recorder.next(Event.Authenticated.class).sub());
            recorder.next(Event.Subscribed.class);
            recorder.next(Event.Subscribed.class);

            Published published = client.publish("chat:lobby", "{\"text\": \"hello\"}").get(10, TimeUnit.SECONDS);
            Update chat = recorder.next(Event.Updated.class).update();
            assertEquals(published.seq(), chat.seq());
            assertEquals("{\"text\": \"hello\"}", chat.data(), "as it was written");
            long trade = stage.publish("odin.users.ada.trades", Map.of("amount", 1));
            assertEquals(trade, recorder.next(Event.Updated.class).update().seq());

            CompletableFuture<Published> forbidden = client.publish("trades", "1");
            ExecutionException refused = assertThrows(ExecutionException.class, () -> forbidden.get(10, TimeUnit.SECONDS));
            PublishException why = assertInstanceOf(PublishException.class, refused.getCause());
            assertEquals(PublishException.Kind.REFUSED, why.kind());

            // the token lives for four seconds: two more of them, and nothing is subscribed anew
            assertTrue(recorder.next(Event.Authenticated.class).isRefresh());
            assertTrue(recorder.next(Event.Authenticated.class).isRefresh());
            long later = stage.publish("odin.users.ada.trades", Map.of("amount", 2));
            assertEquals(later, recorder.next(Event.Updated.class).update().seq());
        }
        assertEquals(1, recorder.all(Event.Connected.class).size());
        assertEquals(2, recorder.all(Event.Subscribed.class).size());
    }

    /** Checklist 13: a token that somebody else has signed. */
    @Test
    void aTokenThatIsNoneIsToldWithoutBeingShown() throws Exception {
        Recorder recorder = new Recorder();
        String forged = Stage.token("ada", 60).replaceAll("[^.]*$", "c2lnbmF0dXJl");
        try (Stage stage = Stage.start(1);
                OdinClient client = OdinClient.connect(
                        options(stage, recorder).tokens(() -> CompletableFuture.completedFuture(forged)).build())) {
            Event.AuthFailed failed = recorder.next(Event.AuthFailed.class);
            assertEquals(ErrorCode.AUTH_FAILED, failed.why().code());
            Event.Reconnecting reconnecting = recorder.next(Event.Reconnecting.class);
            assertEquals(Parting.Kind.NOT_SIGNED_IN, reconnecting.why().kind());
            assertFalse(client.state() == State.LIVE, "nothing is asked for before a token was accepted");
        }
        assertFalse(recorder.all().toString().contains(forged));
        assertEquals(1, recorder.all(Event.Closed.class).size(), "and then the application closed it");
    }
}
