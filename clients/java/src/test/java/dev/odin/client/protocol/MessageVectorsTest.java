package dev.odin.client.protocol;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.odin.client.Vectors;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Messages against the golden vectors: read from a gateway, written for one. */
class MessageVectorsTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** The text of each message, which a parsed one has lost. */
    private static Map<String, String> texts(String file) throws Exception {
        Pattern line = Pattern.compile("\\{\"name\":(\"(?:[^\"\\\\]|\\\\.)*\"),\"direction\":\"\\w+\",\"json\":(.*),\"msgpack\":\"\\w+\"\\},?");
        Map<String, String> texts = new HashMap<>();
        for (String text : Vectors.text(file).split("\n")) {
            Matcher matcher = line.matcher(text.trim());
            if (matcher.matches()) {
                texts.put(JSON.readValue(matcher.group(1), String.class), matcher.group(2));
            }
        }
        return texts;
    }

    @Test
    void everyMessageOfAGatewayIsReadToItsLastMember() throws Exception {
        Map<String, String> texts = texts("server_messages.json");
        assertEquals(Vectors.read("server_messages.json").size(), texts.size());
        for (Map.Entry<String, String> vector : texts.entrySet()) {
            ServerMessage message = MessageReader.read(vector.getValue());
            JsonNode members = JSON.readTree(vector.getValue());
            int found = 1;
            for (RecordComponent component : message.getClass().getRecordComponents()) {
                Object value = component.getAccessor().invoke(message);
                JsonNode member = members.get(component.getName());
                String what = vector.getKey() + ", " + component.getName();
                if (component.getName().equals("data")) {
                    assertTrue(vector.getValue().endsWith("\"data\":" + value + "}"), what);
                } else if (member == null) {
                    assertTrue(value == null || value.equals(false), what);
                } else {
                    assertEquals(member.asText(), text(value), what);
                }
                found += member == null ? 0 : 1;
            }
            assertEquals(members.size(), found, vector.getKey());
        }
    }

    private static String text(Object value) {
        if (value instanceof RequestId id) {
            return id.number() == null ? id.text() : id.number().toString();
        }
        return value instanceof Enum<?> name ? name.name().toLowerCase(Locale.ROOT) : String.valueOf(value);
    }

    @Test
    void everyMessageOfAClientIsWrittenAsTheRustCrateWritesIt() throws Exception {
        Map<String, String> texts = texts("client_messages.json");
        assertEquals(Vectors.read("client_messages.json").size(), texts.size());
        for (Map.Entry<String, String> vector : texts.entrySet()) {
            assertEquals(vector.getValue(), write(JSON.readTree(vector.getValue()), vector.getValue()), vector.getKey());
        }
    }

    private static String write(JsonNode message, String text) {
        JsonNode given = message.get("id");
        RequestId id = given == null ? null
                : given.isTextual() ? new RequestId(null, given.asText()) : new RequestId(given.asLong(), null);
        switch (message.get("type").asText()) {
            case "subscribe":
                List<MessageWriter.Entry> entries = new ArrayList<>();
                for (JsonNode entry : message.get("channels")) {
                    String mode = optional(entry, "mode");
                    entries.add(entry.isTextual() ? new MessageWriter.Entry(entry.asText(), null, null)
                            : new MessageWriter.Entry(entry.get("channel").asText(), optional(entry, "since"),
                                    mode == null ? null : Mode.valueOf(mode.toUpperCase(Locale.ROOT))));
                }
                return MessageWriter.subscribe(id, entries, optional(message, "since"));
            case "unsubscribe":
                List<String> channels = new ArrayList<>();
                message.get("channels").forEach(channel -> channels.add(channel.asText()));
                return MessageWriter.unsubscribe(id, channels);
            case "ping":
                return MessageWriter.ping(id);
            case "auth":
                return MessageWriter.auth(id, message.get("token").asText());
            case "publish":
                String data = text.substring(text.indexOf("\"data\":") + 7, text.length() - 1);
                return MessageWriter.publish(id, message.get("channel").asText(), data);
            default:
                throw new AssertionError("a message that no client writes: " + text);
        }
    }

    private static String optional(JsonNode node, String member) {
        return node.has(member) ? node.get(member).asText() : null;
    }

    @Test
    void everyPayloadIsJudgedAsAGatewayJudgesIt() {
        for (JsonNode given : Vectors.read("payloads.json")) {
            if (!given.has("text")) {
                // bytes that are no text cannot be in a String
                continue;
            }
            String name = given.get("name").asText();
            String text = given.get("text").asText();
            if (given.get("valid").asBoolean()) {
                assertDoesNotThrow(() -> Payload.check(text), name);
            } else {
                assertThrows(IllegalArgumentException.class, () -> Payload.check(text), name);
            }
        }
    }

    @Test
    void whatIsNotKnownIsIgnored() throws Exception {
        assertInstanceOf(ServerMessage.Unknown.class, MessageReader.read("{\"type\":\"weather\",\"id\":[1]}"));
        ServerMessage live = MessageReader.read("{\"mood\":{\"type\":\"x\"},\"type\":\"live\",\"channel\":null}");
        assertNull(((ServerMessage.Live) live).channel());
        ServerMessage stale = MessageReader.read("{\"type\":\"stale\",\"reason\":\"full_moon\"}");
        assertEquals(StaleReason.UNKNOWN, ((ServerMessage.Stale) stale).reason());
    }

    /** Checklist 35: a gateway, or whoever pretends to be one, says what is no message. */
    @Test
    void whatIsNoMessageIsRefusedWithoutBeingRepeated() {
        for (String text : List.of("", "secret", "[\"secret\"]", "{\"type\":7}", "{\"seq\":1}",
                "{\"type\":\"update\",\"channel\":\"secret\"}", "{\"type\":\"live\"} {}", "{\"type\":\"live\"",
                "{\"type\":\"update\",\"channel\":\"a\",\"seq\":1.5,\"ts\":1,\"epoch\":\"secret\",\"data\":1}",
                "{\"type\":\"pong\",\"ts\":99999999999999999999}", "{\"type\":\"live\",\"x\":NaN}",
                "{\"type\":" + "[".repeat(100_000))) {
            ProtocolException refused = assertThrows(ProtocolException.class, () -> MessageReader.read(text), text);
            assertTrue(!refused.getMessage().contains("secret"), refused.getMessage());
        }
    }

    @Test
    void dataStaysAsItWasWritten() throws Exception {
        for (String data : List.of("1.0", " {\"b\" : 1e2, \"a\":[1 ,2]} ", "\"\\u00e9\\\"}\"", "-0", "true", "null",
                "\"" + "x".repeat(100_000) + "\"", "[" + "1,".repeat(50_000) + "2]", "12345678901234567890123")) {
            for (String tail : List.of("}", ",\"later\":1}")) {
                String text = "{\"type\":\"update\",\"channel\":\"a\",\"seq\":1,\"ts\":1,\"epoch\":\"e\",\"data\":" + data + tail;
                assertEquals(data.trim(), ((Update) MessageReader.read(text)).data());
            }
        }
    }
}
