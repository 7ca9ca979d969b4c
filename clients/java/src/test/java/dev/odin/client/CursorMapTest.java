package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.Mode;
import dev.odin.client.protocol.ResumeReason;
import dev.odin.client.protocol.Update;
import org.junit.jupiter.api.Test;

/** Positions to come back to, and what is kept. */
class CursorMapTest {
    private static final Channel BTC = Channel.parse("price:BTC");
    private static final Channel PRICES = Channel.parse("price:*");

    private static Update link(String channel, String key, long prev, long seq) {
        return new Update(channel, key, seq, prev, seq, "k3j9x2m4", false, "1");
    }

    private static String cursor(long seq) {
        return "1.k3j9x2m4." + seq + "." + seq;
    }

    private static CursorMap begun(Channel channel, Mode mode) {
        CursorMap map = new CursorMap();
        assertFalse(map.begin(channel, mode, false, null, cursor(3)), "it had not begun before");
        return map;
    }

    @Test
    void anExactChannelComesBackToItsLastUpdateOrToACheckpointThatIsFurther() {
        CursorMap map = begun(BTC, Mode.ALL);
        assertEquals(cursor(3), map.since(BTC));
        map.update(link("price:BTC", null, 0, 5));
        map.disconnect();
        assertEquals(cursor(5), map.since(BTC));
        map.begin(BTC, Mode.ALL, true, null, null);
        map.checkpoint(cursor(4));
        assertEquals(cursor(5), map.since(BTC), "it lies before the update");
        map.checkpoint(cursor(90));
        assertEquals(cursor(90), map.since(BTC));
        map.checkpoint("2.a-form-of-tomorrow");
        assertEquals("2.a-form-of-tomorrow", map.since(BTC));
        map.update(link("price:BTC", null, 5, 95));
        assertEquals(cursor(95), map.since(BTC));
    }

    @Test
    void severalChainsComeBackToTheLastCheckpointOnly() {
        CursorMap map = begun(PRICES, Mode.ALL);
        map.update(link("price:BTC", null, 0, 5));
        assertEquals(cursor(3), map.since(PRICES));
        CursorMap keyed = begun(BTC, Mode.ALL);
        keyed.update(link("price:BTC", "a", 0, 5));
        assertEquals(cursor(3), keyed.since(BTC));
        keyed.checkpoint(cursor(6));
        assertEquals(cursor(6), keyed.since(BTC));
    }

    @Test
    void aCheckpointCountsForWhatIsConfirmedOnThisConnection() {
        CursorMap map = begun(PRICES, Mode.ALL);
        map.disconnect();
        map.checkpoint(cursor(9));
        assertEquals(cursor(3), map.since(PRICES));
        assertFalse(map.checkpoint(""), "no cursor is empty");
        assertFalse(map.checkpoint("x".repeat(65)));
    }

    @Test
    void asksForTheSnapshotAgainUntilItIsKnownToHaveCome() {
        CursorMap map = begun(PRICES, Mode.LATEST);
        map.update(new Update("price:BTC", null, 2, null, 2, "k3j9x2m4", true, "1"));
        assertNull(map.since(PRICES), "there may be more of it");
        map.checkpoint(cursor(4));
        assertEquals(cursor(4), map.since(PRICES));
    }

    @Test
    void nobodyComesBackToAStreamThatIsGone() {
        CursorMap map = begun(PRICES, Mode.ALL);
        map.begin(BTC, Mode.ALL, false, null, cursor(3));
        map.update(link("price:BTC", null, 0, 500));
        assertTrue(map.begin(PRICES, Mode.ALL, false, ResumeReason.EPOCH_CHANGED, "1.newepoch.2.2"));
        assertEquals("1.newepoch.2.2", map.since(PRICES));
        assertEquals("1.newepoch.2.2", map.since(BTC), "it begins under its pattern");
        assertEquals(CursorMap.Kind.DELIVER, map.update(link("price:BTC", null, 1, 2)).kind());
    }

    @Test
    void whatNoSubscriptionCoversIsAStray() {
        CursorMap map = begun(BTC, Mode.ALL);
        for (String channel : new String[] {"price:ETH", "price", "price:BTC:USD", "price:*", "not a channel"}) {
            assertEquals(CursorMap.Kind.STRAY, map.update(link(channel, null, 0, 5)).kind(), channel);
        }
        assertEquals(CursorMap.Kind.STRAY, map.update(link("price:BTC", "k".repeat(257), 0, 5)).kind());
        map.end(BTC);
        assertEquals(CursorMap.Kind.STRAY, map.update(link("price:BTC", null, 0, 5)).kind());
        assertEquals(0, map.chains());
    }

    /** Checklist 32: a gateway that makes up channels does not fill the memory. */
    @Test
    void neverKeepsMoreChainsThanItsLimit() {
        CursorMap map = begun(PRICES, Mode.ALL);
        for (int number = 0; number < CursorMap.MAX_CHAINS + 10; number++) {
            assertEquals(CursorMap.Kind.DELIVER, map.update(link("price:T" + number, null, 0, 5)).kind());
        }
        assertEquals(CursorMap.MAX_CHAINS, map.chains());
        map.end(PRICES);
        assertEquals(0, map.chains());
    }

    @Test
    void aChannelOfModeAllIsNotMergedUnderItsPattern() {
        CursorMap map = begun(PRICES, Mode.LATEST);
        map.begin(BTC, Mode.ALL, false, null, cursor(3));
        map.update(link("price:BTC", null, 0, 5));
        assertEquals(CursorMap.Kind.MISSING, map.update(link("price:BTC", null, 8, 9)).kind());
        map.end(BTC);
        assertEquals(CursorMap.Kind.MERGED, map.update(link("price:BTC", null, 12, 13)).kind());
    }
}
