package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.ErrorCode;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The state machine on a clock that the test moves. */
class SessionTest {
    private static final String ALL = "\"mode\":\"all\",\"recovered\":false,\"cursor\":\"1.k3j9x2m4.1.1\"";

    private static Bench subscribed(String channel) {
        Bench bench = new Bench().wish(channel).connect();
        bench.said();
        bench.subscribed(1, channel, ALL).events();
        return bench;
    }

    @Test
    void saysNothingBeforeTheGatewayHasSaidHello() {
        Bench bench = new Bench().wish("price:BTC");
        bench.session.opened();
        assertEquals(List.of(), bench.said());
        bench.hear(Bench.HELLO);
        assertEquals(List.of("{\"type\":\"subscribe\",\"id\":1,\"channels\":[\"price:BTC\"]}"), bench.said());
    }

    @Test
    void asksForManyChannelsInSeveralMessagesThatTheGatewayReads() {
        Bench bench = new Bench();
        for (int number = 0; number < 700; number++) {
            bench.wish("price:T" + number);
        }
        bench.session.opened();
        bench.hear(Bench.HELLO.replace("65536", "4096"));
        List<String> said = bench.said();
        assertTrue(said.stream().allMatch(message -> message.length() <= 4_096));
        assertEquals(700, said.stream().mapToInt(message -> message.split("price:T").length - 1).sum());
        Bench generous = new Bench();
        for (int number = 0; number < 700; number++) {
            generous.wish("price:T" + number);
        }
        assertTrue(generous.connect().said().size() >= 2, "no message has all of them, however much is read");
    }

    @Test
    void comesBackWithThePositionWhereItStopped() {
        Bench bench = subscribed("price:BTC").update("price:BTC", 0, 5).update("price:BTC", 5, 9);
        bench.parted(1012);
        bench.connect();
        assertEquals(List.of("{\"type\":\"subscribe\",\"id\":2,\"channels\":[{\"channel\":\"price:BTC\","
                + "\"since\":\"1.k3j9x2m4.9.9\"}]}"), bench.said());
    }

    @Test
    void thePositionOfAnEarlierProgramCountsUntilThereIsABetterOne() {
        Bench bench = new Bench();
        bench.session.subscribe(Channel.parse("trades"), null, "2.a-form-of-tomorrow");
        String asked = bench.connect().said().get(0);
        assertTrue(asked.contains("\"since\":\"2.a-form-of-tomorrow\""), asked);
        bench.parted(1006);
        assertEquals(asked.replace("\"id\":1", "\"id\":2"), bench.connect().said().get(0), "it was not taken yet");
        bench.subscribed(2, "trades", "\"mode\":\"all\",\"recovered\":true");
        assertEquals("2.a-form-of-tomorrow", ((Event.Subscribed) bench.last()).cursor());
    }

    @Test
    void dropsWhatComesAfterUnsubscribe() {
        Bench bench = subscribed("price:BTC");
        bench.session.unsubscribe(Channel.parse("price:BTC"));
        assertEquals(List.of("{\"type\":\"unsubscribe\",\"id\":2,\"channels\":[\"price:BTC\"]}"), bench.said());
        bench.update("price:BTC", 0, 5);
        assertEquals(List.of(), bench.events());
        bench.hear("{\"type\":\"unsubscribed\",\"id\":2,\"channel\":\"price:BTC\"}");
        assertEquals(new Event.Unsubscribed("price:BTC"), bench.last());
        bench.parted(1012);
        assertEquals(List.of(), bench.connect().said());
    }

    @Test
    void aSubscriptionThatTheGatewayEndsIsNotAskedForAgain() {
        Bench bench = subscribed("trades");
        bench.hear("{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"no\",\"channel\":\"trades\"}");
        bench.hear("{\"type\":\"unsubscribed\",\"channel\":\"trades\"}");
        assertEquals(List.of(new Event.Refused(ErrorCode.FORBIDDEN, "no", "trades", null),
                new Event.Unsubscribed("trades")), bench.events());
        bench.parted(1012);
        assertEquals(List.of(), bench.connect().said());
    }

    @Test
    void whatIsRefusedForGoodEndsAndWhatIsRefusedForNowIsAskedForAgain() {
        Bench bench = new Bench().wish("price:BTC").wish("price:ETH").connect();
        bench.said();
        bench.events();
        bench.hear("{\"type\":\"error\",\"id\":1,\"code\":\"unknown_channel\",\"message\":\"no\",\"channel\":\"price:ETH\"}");
        assertEquals(new Event.Unsubscribed("price:ETH"), bench.last());
        bench.hear("{\"type\":\"error\",\"id\":1,\"code\":\"unavailable\",\"message\":\"no\",\"channel\":\"price:BTC\","
                + "\"retryAfterMs\":4000}");
        Event.Refused refused = assertInstanceOf(Event.Refused.class, bench.last());
        assertTrue(refused.retryAfterMs() >= 4_000 && refused.retryAfterMs() <= 4_500, refused.toString());
        bench.pass(3_999);
        assertEquals(List.of(), bench.said());
        bench.pass(refused.retryAfterMs() - 3_999);
        assertEquals(List.of("{\"type\":\"subscribe\",\"id\":2,\"channels\":[\"price:BTC\"]}"), bench.said());
    }

    @Test
    void pingsASilentGatewayAndLeavesIt() {
        Bench bench = new Bench().connect();
        assertEquals(37_500, bench.passUntilDue());
        assertEquals(List.of("{\"type\":\"ping\",\"id\":1}"), bench.said());
        assertEquals(12_500, bench.passUntilDue());
        assertEquals(Parting.Kind.SILENT, bench.left.kind());
    }

    @Test
    void anythingThatComesIsASignOfLife() {
        Bench bench = new Bench().connect();
        bench.pass(49_000).session.heard(bench.now);
        assertNull(bench.pass(40_000).left);
        bench.said();
        assertNull(bench.hear("{\"type\":\"pong\",\"id\":1,\"ts\":1}").left);
        assertEquals(37_500, bench.passUntilDue());
        assertEquals(1, bench.said().size(), "an answered ping is followed by another one");
    }

    @Test
    void whatASlowApplicationKeptUnreadIsNoSilence() {
        Bench bench = new Bench().connect();
        bench.now += 300_000;
        bench.session.listensAgain(bench.now);
        assertNull(bench.pass(0).left);
    }

    @Test
    void followsTheTableOfCloseCodes() {
        for (int[] row : new int[][] {{1000, -1}, {1012, 500}, {1013, 8_000}, {4000, 500}, {4321, 8_000}, {4401, -1},
            {4403, -1}, {4999, -1}, {1005, 500}, {1006, 500}}) {
            for (int seed = 0; seed < 50; seed++) {
                Bench bench = new Bench(Bench.options().build(), seed).wish("price:BTC").connect();
                Plan plan = bench.parted(row[0]);
                assertEquals(row[1] < 0 ? Plan.Kind.END : Plan.Kind.DIAL, plan.kind(), "" + row[0]);
                assertTrue(plan.afterMs() <= Math.max(0, row[1]), row[0] + " waits " + plan.afterMs());
            }
        }
    }

    @Test
    void waitsAtLeastAsLongAsAFullGatewayAsks() {
        Bench bench = new Bench();
        Plan plan = bench.session.parted(0, Parting.status(503, 7_000));
        assertTrue(plan.afterMs() >= 7_000 && plan.afterMs() <= 15_000, plan.toString());
        assertEquals(Plan.Kind.END, new Bench().session.parted(0, Parting.status(403, 0)).kind());
    }

    @Test
    void onlyAStableConnectionMakesTheNextWaitShort() {
        long longest = 0;
        for (int seed = 0; seed < 100; seed++) {
            Bench bench = new Bench(Bench.options().build(), seed);
            for (int attempt = 0; attempt < 6; attempt++) {
                bench.connect().now += 29_999;
                longest = Math.max(longest, bench.parted(1012).afterMs());
            }
            bench.connect().now += 30_000;
            assertTrue(bench.parted(1012).afterMs() <= 500);
        }
        assertTrue(longest > 10_000, "a short connection leaves the waits long: " + longest);
    }

    @Test
    void sleepsAfterAnIdleCloseUntilSomethingIsWanted() {
        Bench bench = new Bench().connect();
        assertEquals(Plan.Kind.SLEEP, bench.parted(4002).kind());
        assertInstanceOf(Event.Idle.class, bench.last());
        assertTrue(!bench.session.isWanting() && bench.wish("price:BTC").session.isWanting());
    }

    @Test
    void leavesADrainingGatewayThatDoesNotClose() {
        Bench bench = new Bench().connect();
        bench.hear("{\"type\":\"system:status\",\"status\":\"draining\",\"reconnectInMs\":5000}");
        assertEquals(new Event.Draining(5_000L, null), bench.last());
        assertEquals(7_000, bench.passUntilDue());
        assertEquals(Parting.Kind.DRAINED, bench.left.kind());
    }

    @Test
    void triesTheAddressesInTurn() {
        Bench bench = new Bench(Bench.options().url("ws://127.0.0.2/ws").build(), 7);
        assertEquals("127.0.0.1", bench.session.url().getHost());
        bench.parted(1006);
        assertEquals("127.0.0.2", bench.session.url().getHost());
        bench.parted(1006);
        assertEquals("127.0.0.1", bench.session.url().getHost());
    }

    @Test
    void aSecondHelloAndMessagesOfTomorrowChangeNothing() {
        Bench bench = subscribed("price:BTC");
        bench.hear(Bench.HELLO).hear("{\"type\":\"weather\"}").hear("{\"type\":\"pong\",\"ts\":1}");
        bench.hear("{\"type\":\"error\",\"code\":\"out_of_cheese\",\"message\":\"redo\\u001b\",\"id\":\"theirs\"}");
        assertEquals(List.of(new Event.Refused(ErrorCode.UNKNOWN, "redo?", null, null)), bench.events());
        assertEquals(List.of(), bench.said());
    }

    @Test
    void aGapIsToldAndAHoleThatNobodyAnnouncedToo() {
        Bench bench = subscribed("trades").update("trades", 0, 5);
        bench.events();
        bench.hear("{\"type\":\"gap\",\"channel\":\"trades\",\"after\":5,\"until\":8,\"reason\":\"retention\"}");
        bench.update("trades", 8, 9).update("trades", 12, 13);
        List<Event> events = bench.events();
        assertEquals(8, ((Event.Gap) events.get(0)).until());
        assertInstanceOf(Event.Updated.class, events.get(1));
        assertEquals(new Event.Gap("trades", null, 9, 12, null), events.get(2));
        assertInstanceOf(Event.Updated.class, events.get(3));
        assertEquals(4, events.size());
    }
}
