package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

/** Publications, on a clock that the test moves. */
class PublishesTest {
    private static CompletableFuture<Published> publish(Bench bench, String data) {
        CompletableFuture<Published> outcome = new CompletableFuture<>();
        bench.session.publish("chat:lobby", data, outcome);
        return outcome;
    }

    private static PublishException.Kind why(CompletableFuture<Published> outcome) {
        assertTrue(outcome.isDone(), "nothing has become of it");
        ExecutionException failed = assertThrows(ExecutionException.class, outcome::get);
        return ((PublishException) failed.getCause()).kind();
    }

    @Test
    void hasSixteenUnderWayAndSendsTheOthersInTurn() throws Exception {
        Bench bench = new Bench().connect();
        List<CompletableFuture<Published>> outcomes = new ArrayList<>();
        for (int number = 0; number < 20; number++) {
            outcomes.add(publish(bench, "" + number));
        }
        List<String> said = bench.said();
        assertEquals(16, said.size());
        assertEquals("{\"type\":\"publish\",\"id\":1,\"channel\":\"chat:lobby\",\"data\":0}", said.get(0));
        bench.hear("{\"type\":\"published\",\"id\":3,\"channel\":\"chat:lobby\",\"seq\":9,\"epoch\":\"k3j9x2m4\"}");
        assertEquals(new Published("chat:lobby", 9, "k3j9x2m4"), outcomes.get(2).get());
        assertEquals(1, bench.said().size());
    }

    @Test
    void whatWasSentIsNeverSentAgainAndWhatWasNotWaits() {
        Bench bench = new Bench().connect();
        CompletableFuture<Published> sent = publish(bench, "1");
        bench.said();
        CompletableFuture<Published> waiting = publish(bench, "2");
        bench.parted(1006);
        assertEquals(PublishException.Kind.UNKNOWN, why(sent));
        assertFalse(waiting.isDone());
        List<String> said = bench.connect().said();
        assertTrue(said.size() == 1 && said.get(0).endsWith("\"data\":2}"), said.toString());
        bench.parted(4403);
        assertEquals(PublishException.Kind.UNKNOWN, why(waiting));
    }

    @Test
    void holdsBackAfterARateLimit() {
        Bench bench = new Bench().connect();
        CompletableFuture<Published> refused = publish(bench, "1");
        bench.said();
        bench.hear("{\"type\":\"error\",\"id\":1,\"code\":\"rate_limited\",\"message\":\"no\",\"retryAfterMs\":1500}");
        assertEquals(PublishException.Kind.REFUSED, why(refused));
        publish(bench, "2");
        assertEquals(List.of(), bench.pass(1_499).said());
        assertEquals(1, bench.session.deadline() - bench.now);
        assertEquals(1, bench.pass(1).said().size());
    }

    @Test
    void nobodyKnowsAfterUnavailableAndAfterHalfAMinute() {
        Bench bench = new Bench().connect();
        CompletableFuture<Published> unavailable = publish(bench, "1");
        CompletableFuture<Published> unanswered = publish(bench, "2");
        bench.said();
        bench.hear("{\"type\":\"error\",\"id\":1,\"code\":\"unavailable\",\"message\":\"no\"}");
        assertEquals(PublishException.Kind.UNKNOWN, why(unavailable));
        bench.pass(29_999);
        assertFalse(unanswered.isDone());
        bench.pass(1);
        assertEquals(PublishException.Kind.UNKNOWN, why(unanswered));
    }

    @Test
    void whatTheGatewayWouldNotReadAndWhatIsTooMuchIsNotSent() {
        Bench bench = new Bench(Bench.options().publishQueue(2).build(), 7);
        CompletableFuture<Published> big = publish(bench, "\"" + "x".repeat(65_536) + "\"");
        CompletableFuture<Published> small = publish(bench, "1");
        assertEquals(PublishException.Kind.BUSY, why(publish(bench, "2")));
        assertEquals(1, bench.connect().said().size());
        assertEquals(PublishException.Kind.TOO_BIG, why(big));
        assertFalse(small.isDone());
    }

    @Test
    void whatTheApplicationGaveUpIsNotSent() {
        Bench bench = new Bench();
        publish(bench, "1").cancel(false);
        assertEquals(List.of(), bench.connect().said());
    }
}
