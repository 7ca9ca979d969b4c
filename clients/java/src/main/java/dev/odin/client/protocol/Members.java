package dev.odin.client.protocol;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * The members of one message, read without knowing which there should be.
 *
 * <p>Texts, numbers and truth values are read; {@code data} and whatever is an object or a list stays the text it was.
 * A {@code null} is no member, but for {@code data}, where it is a value.
 */
final class Members {
    private static final JsonFactory JSON = new JsonFactory();
    private static final String DATA = "data";

    private final Map<String, Object> members = new HashMap<>();

    private Members() {
    }

    /** Text that is kept as it came. */
    private record Raw(String json) {
    }

    static Members read(String json) throws ProtocolException {
        Members message = new Members();
        try (JsonParser parser = JSON.createParser(json)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new ProtocolException("message is not an object");
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                Object value = value(parser, parser.nextToken(), json, name.equals(DATA));
                if (value != null) {
                    message.members.put(name, value);
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                throw new ProtocolException("message with something behind it");
            }
        } catch (IOException unreadable) {
            // its own words would repeat the message
            throw new ProtocolException("message is not JSON");
        }
        return message;
    }

    private static Object value(JsonParser parser, JsonToken token, String json, boolean isRaw) throws IOException {
        int start = (int) parser.currentTokenLocation().getCharOffset();
        if (isRaw || token.isStructStart()) {
            parser.skipChildren();
            parser.finishToken();
            return new Raw(json.substring(start, (int) parser.currentLocation().getCharOffset()));
        }
        switch (token) {
            case VALUE_STRING:
                return parser.getText();
            case VALUE_TRUE:
                return Boolean.TRUE;
            case VALUE_FALSE:
                return Boolean.FALSE;
            case VALUE_NUMBER_INT:
                return parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER ? Double.MAX_VALUE
                        : (Object) parser.getLongValue();
            case VALUE_NUMBER_FLOAT:
                return parser.getDoubleValue();
            default:
                return null;
        }
    }

    String text(String name) throws ProtocolException {
        String text = optionalText(name);
        if (text == null) {
            throw missing(name);
        }
        return text;
    }

    String optionalText(String name) throws ProtocolException {
        Object value = members.get(name);
        if (value == null || value instanceof String) {
            return (String) value;
        }
        throw wrong(name);
    }

    long number(String name) throws ProtocolException {
        Long number = optionalNumber(name);
        if (number == null) {
            throw missing(name);
        }
        return number;
    }

    Long optionalNumber(String name) throws ProtocolException {
        Object value = members.get(name);
        if (value == null || value instanceof Long) {
            return (Long) value;
        }
        throw wrong(name);
    }

    boolean flag(String name) throws ProtocolException {
        Object value = members.get(name);
        if (value instanceof Boolean) {
            return (Boolean) value;
        }
        throw value == null ? missing(name) : wrong(name);
    }

    boolean optionalFlag(String name) throws ProtocolException {
        return members.containsKey(name) && flag(name);
    }

    RequestId optionalId() throws ProtocolException {
        Object value = members.get("id");
        if (value == null) {
            return null;
        }
        if (value instanceof Long) {
            return new RequestId((Long) value, null);
        }
        if (value instanceof String) {
            return new RequestId(null, (String) value);
        }
        throw wrong("id");
    }

    String data() throws ProtocolException {
        Object value = members.get(DATA);
        if (value instanceof Raw) {
            return ((Raw) value).json();
        }
        throw missing(DATA);
    }

    private static ProtocolException missing(String name) {
        return new ProtocolException("message without " + name);
    }

    private static ProtocolException wrong(String name) {
        return new ProtocolException("message with " + name + " of the wrong type");
    }
}
