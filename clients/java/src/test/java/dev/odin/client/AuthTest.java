package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** Signing in, on a clock that the test moves. */
class AuthTest {
    private static Bench signedIn(long seed, long life) {
        Bench bench = Bench.withTokens(seed).wish("trades").token("t1").connect();
        bench.said();
        return bench.hear("{\"type\":\"authenticated\",\"id\":1,\"sub\":\"ada\",\"expiresAt\":" + life + "}");
    }

    private static Bench refuse(Bench bench, long id, String code, String more) {
        return bench.hear("{\"type\":\"error\",\"id\":" + id + ",\"code\":\"" + code + "\",\"message\":\"no\"" + more + "}");
    }

    @Test
    void sendsTheTokenFirstAndAsksForNothingBeforeItWasAccepted() {
        Bench bench = Bench.withTokens(7).wish("trades");
        assertTrue(bench.session.wantsToken(), "before it connects");
        bench.token("t1").connect();
        assertEquals(List.of("{\"type\":\"auth\",\"id\":1,\"token\":\"t1\"}"), bench.said());
        bench.hear("{\"type\":\"authenticated\",\"id\":1,\"sub\":\"ada\"}");
        assertEquals(new Event.Authenticated("ada", null, false), bench.last());
        assertEquals(List.of("{\"type\":\"subscribe\",\"id\":2,\"channels\":[\"trades\"]}"), bench.said());
    }

    @Test
    void refreshesBetweenHalfAndThreeQuartersOfWhatIsLeft() {
        long least = Long.MAX_VALUE;
        long most = 0;
        for (int seed = 0; seed < 300; seed++) {
            Bench bench = signedIn(seed, 40_000);
            bench.said();
            while (!bench.session.wantsToken()) {
                bench.passUntilDue();
                bench.said();
                bench.session.heard(bench.now);
            }
            least = Math.min(least, bench.now);
            most = Math.max(most, bench.now);
            bench.token("t2");
            assertTrue(bench.said().get(0).contains("\"token\":\"t2\""));
        }
        assertTrue(least >= 20_000 && least < 22_000, "at the earliest after " + least);
        assertTrue(most > 28_000 && most <= 30_001, "at the latest after " + most);
    }

    @Test
    void refreshesAtOnceWhenToldButNotMoreThanOnceInASecond() {
        Bench bench = signedIn(7, 3_600_000);
        bench.said();
        String expiring = "{\"type\":\"system:status\",\"status\":\"token_expiring\",\"expiresInMs\":60000}";
        bench.hear(expiring).pass(0);
        assertTrue(bench.session.wantsToken());
        bench.token("t2");
        String auth = bench.said().get(0);
        long id = Long.parseLong(auth.replaceAll("\\D+(\\d+).*", "$1"));
        bench.hear("{\"type\":\"authenticated\",\"id\":" + id + ",\"sub\":\"ada\"}").hear(expiring).pass(999);
        assertFalse(bench.session.wantsToken());
        assertTrue(bench.pass(1).session.wantsToken());
    }

    @Test
    void triesAnotherTokenOnceAndThenLeaves() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        assertNull(refuse(bench, 1, "auth_failed", "").left);
        assertEquals(0L, assertInstanceOf(Event.AuthFailed.class, bench.last()).retryAfterMs());
        bench.token("t2");
        assertEquals(1, bench.said().size());
        Parting why = refuse(bench, 2, "auth_failed", "").left;
        assertEquals(Parting.Kind.NOT_SIGNED_IN, why.kind());
        Plan plan = bench.session.parted(bench.now, why);
        assertTrue(plan.kind() == Plan.Kind.DIAL && plan.afterMs() <= 8_000);
        // until a token was accepted: one try for each connection
        bench.token("t3").connect();
        bench.said();
        assertEquals(Parting.Kind.NOT_SIGNED_IN, refuse(bench, 3, "auth_failed", "").left.kind());
    }

    @Test
    void doesNotSendATokenAgainThatWasRefused() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        refuse(bench, 1, "auth_failed", "");
        assertEquals(Parting.Kind.NOT_SIGNED_IN, bench.token("t1").left.kind());
    }

    @Test
    void triesAgainOnTheConnectionWhenTokensCannotBeChecked() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        assertNull(refuse(bench, 1, "auth_unavailable", ",\"retryAfterMs\":3000").left);
        assertFalse(bench.pass(2_999).session.wantsToken());
        assertTrue(bench.pass(501).session.wantsToken());
        bench.token("t1");
        assertEquals(1, bench.said().size(), "the same token is as good as before");
    }

    @Test
    void forbiddenIsTheEnd() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        Parting why = refuse(bench, 1, "forbidden", "").left;
        assertEquals(Plan.Kind.END, bench.session.parted(bench.now, why).kind());
    }

    @Test
    void aGatewayThatDoesNotAnswerIsLeftSoon() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        assertNull(bench.pass(4_999).left);
        Parting why = bench.pass(1).left;
        assertEquals(AuthFailure.Kind.UNANSWERED, why.auth().kind());
        assertTrue(bench.session.parted(bench.now, why).afterMs() <= 500);
    }

    @Test
    void withoutATokenItDoesNotConnectAndTriesAgainSoon() {
        Bench bench = Bench.withTokens(7);
        Parting why = bench.session.noToken(0, "IOException");
        assertEquals("no token: IOException", why.toString());
        assertTrue(bench.session.parted(0, why).afterMs() <= 500);
        assertTrue(bench.session.wantsToken());
    }

    @Test
    void aRefreshThatFailsIsTriedAgainUntilTheTokenInForceHasExpired() {
        Bench bench = signedIn(7, 10_000);
        bench.said();
        int tries = 0;
        while (bench.now < 10_000) {
            bench.passUntilDue();
            assertNull(bench.left);
            if (bench.session.wantsToken()) {
                tries += 1;
                assertNull(bench.session.noToken(bench.now, "IOException"));
            }
        }
        assertTrue(tries >= 2, tries + " tries");
        List<Event> events = bench.events();
        assertNull(assertInstanceOf(Event.AuthFailed.class, events.get(events.size() - 1)).retryAfterMs());
        assertEquals(Plan.Kind.DIAL, bench.parted(4003).kind());
    }

    @Test
    void comesBackOnceWithAnotherTokenAfter4401() {
        Bench bench = Bench.withTokens(7).token("t1").connect();
        bench.said();
        assertEquals(Plan.Kind.DIAL, bench.parted(4401).kind());
        bench.token("t2").connect();
        bench.said();
        assertEquals(Plan.Kind.END, bench.parted(4401).kind());
        assertEquals(Plan.Kind.END, new Bench().connect().parted(4401).kind(), "without a source there is no other one");
    }

    /** Checklist 17: a token must not reach a log by way of an event. */
    @Test
    void noEventShowsAToken() {
        Bench bench = Bench.withTokens(7).token("secret").connect();
        bench.said();
        refuse(bench, 1, "auth_failed", "").token("secret");
        bench.session.parted(bench.now, bench.left);
        assertFalse(bench.events().toString().contains("secret"));
    }
}
