package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class BackoffTest {
    private static Backoff standard() {
        return new Backoff(Backoff.DEFAULT_BASE_MS, Backoff.DEFAULT_CAP_MS);
    }

    @Test
    void doublesItsCeilingUpToTheCap() {
        Backoff backoff = standard();
        List<Long> ceilings = new ArrayList<>();
        for (int attempt = 0; attempt < 9; attempt++) {
            ceilings.add(backoff.ceilingMs());
            backoff.draw(new Random(1));
        }
        assertEquals(List.of(500L, 1_000L, 2_000L, 4_000L, 8_000L, 16_000L, 30_000L, 30_000L, 30_000L), ceilings);
    }

    @Test
    void drawsFromTheWholeRangeBetweenZeroAndTheCeiling() {
        Random random = new Random(2);
        boolean isNearZero = false;
        boolean isNearCeiling = false;
        for (int draw = 0; draw < 1_000; draw++) {
            long wait = standard().draw(random);
            assertTrue(wait >= 0 && wait <= 500, "waits " + wait);
            isNearZero |= wait < 50;
            isNearCeiling |= wait > 450;
        }
        assertTrue(isNearZero && isNearCeiling);
    }

    @Test
    void isPatientWhenToldToComeBackLaterAndShortAgainAfterAStableConnection() {
        Backoff backoff = standard();
        backoff.bePatient();
        assertEquals(8_000, backoff.ceilingMs());
        backoff.reset();
        assertEquals(500, backoff.ceilingMs());
    }

    @Test
    void survivesMoreStepsThanANumberHasBits() {
        Backoff backoff = new Backoff(Backoff.DEFAULT_CAP_MS, Backoff.DEFAULT_CAP_MS);
        for (int attempt = 0; attempt < 100; attempt++) {
            long wait = backoff.draw(new Random(attempt));
            assertTrue(wait >= 0 && wait <= 30_000, "waits " + wait);
        }
    }
}
