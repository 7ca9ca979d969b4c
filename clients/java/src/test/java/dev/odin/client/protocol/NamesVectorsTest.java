package dev.odin.client.protocol;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.fasterxml.jackson.databind.JsonNode;
import dev.odin.client.Vectors;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** Names, codes and cursors against the golden vectors. */
class NamesVectorsTest {
    @Test
    void everyChannelIsReadAsTheVectorsSay() {
        for (JsonNode given : Vectors.read("channels.json")) {
            String text = given.get("text").asText();
            assertEquals(given.get("valid").asBoolean(), Channel.isValid(text), text);
            if (!Channel.isValid(text)) {
                continue;
            }
            Channel channel = Channel.parse(text);
            assertEquals(given.get("pattern").asBoolean(), channel.isPattern(), text);
            for (JsonNode covered : given.path("covers")) {
                Channel name = Channel.parse(covered.asText());
                assertEquals(true, channel.covers(name), text + " covers " + name);
                if (!name.isPattern()) {
                    assertEquals(text, name.coveringPattern());
                }
            }
            for (JsonNode other : given.path("coversNot")) {
                if (Channel.isValid(other.asText())) {
                    assertEquals(false, channel.covers(Channel.parse(other.asText())), text + " and " + other);
                }
            }
        }
    }

    @Test
    void everyCursorOfVersionOneIsReadAndWrittenAgain() {
        for (JsonNode given : Vectors.read("cursors.json")) {
            String text = given.get("text").asText();
            Cursor cursor = Cursor.parse(text);
            if (!given.get("valid").asBoolean()) {
                assertNull(cursor, text);
                continue;
            }
            assertNotNull(cursor, text);
            assertEquals(given.get("epoch").asText(), cursor.epoch());
            assertEquals(given.get("seq").asText(), Long.toUnsignedString(cursor.seq()));
            assertEquals(given.get("ts").asText(), Long.toString(cursor.ts()));
            assertEquals(text, cursor.toString());
        }
    }

    @Test
    void everyCloseCodeSaysWhetherToComeBack() {
        JsonNode table = Vectors.read("close_codes.json");
        assertEquals(table.size(), CloseCode.values().length);
        for (JsonNode row : table) {
            CloseCode code = CloseCode.of(row.get("code").asInt());
            assertNotNull(code, row.toString());
            assertEquals(row.get("name").asText(), code.name().toLowerCase(Locale.ROOT));
            assertEquals(row.get("reconnect").asText(), code.reconnect().name().toLowerCase(Locale.ROOT));
            assertEquals(code.reconnect(), Reconnect.forCode(code.code()));
        }
        assertEquals(Reconnect.LATER, Reconnect.forCode(4399));
        assertEquals(Reconnect.NEVER, Reconnect.forCode(4999));
        assertEquals(Reconnect.SOON, Reconnect.forCode(1006));
        assertEquals(Reconnect.SOON, Reconnect.forCode(1005));
        assertEquals(Reconnect.LATER, Reconnect.forCode(3000));
    }

    @Test
    void everyErrorCodeSaysWhetherToTryAgain() {
        JsonNode table = Vectors.read("error_codes.json");
        assertEquals(table.size() + 1, ErrorCode.values().length, "and one for those of tomorrow");
        for (JsonNode row : table) {
            ErrorCode code = ErrorCode.of(row.get("code").asText());
            assertNotEquals(ErrorCode.UNKNOWN, code, row.toString());
            assertEquals(row.get("retry").asBoolean(), code.mayRetry(), row.toString());
            assertEquals(row.get("code").asText(), code.wire());
        }
        assertEquals(ErrorCode.UNKNOWN, ErrorCode.of("out_of_cheese"));
        assertEquals(ErrorCode.UNKNOWN, ErrorCode.of("unknown"));
    }

    @Test
    void everyReasonIsKnown() {
        for (JsonNode row : Vectors.read("reasons.json")) {
            String name = row.get("name").asText();
            switch (row.get("kind").asText()) {
                case "resume" -> assertEquals(name, ResumeReason.of(name).wire());
                case "gap" -> assertEquals(name, GapReason.of(name).wire());
                case "stale" -> assertEquals(name, StaleReason.of(name).wire());
                case "system" -> assertEquals(name, SystemState.of(name).wire());
                default -> throw new AssertionError("a kind that no client knows: " + row);
            }
        }
    }
}
