package dev.odin.client.protocol;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.List;

/** Writes what a client says: the members in the order of {@code docs/protocol.md}, {@code type} first. */
public final class MessageWriter {
    private static final JsonFactory JSON = new JsonFactory();

    private MessageWriter() {
    }

    /**
     * One entry of {@code subscribe}.
     *
     * @param channel name or pattern
     * @param since position to continue after; may be {@code null}
     * @param mode asked-for mode; may be {@code null}
     */
    public record Entry(String channel, String since, Mode mode) {
    }

    /** Writes the members behind {@code type}. */
    private interface Body {
        void write(JsonGenerator json) throws IOException;
    }

    /**
     * Begins subscriptions.
     *
     * @param id repeated in the answers; may be {@code null}
     * @param entries at least one, at most 500
     * @param since position of those that have none of their own; may be {@code null}
     * @return the message
     */
    public static String subscribe(RequestId id, List<Entry> entries, String since) {
        return message("subscribe", id, json -> {
            json.writeArrayFieldStart("channels");
            for (Entry entry : entries) {
                if (entry.since() == null && entry.mode() == null) {
                    json.writeString(entry.channel());
                    continue;
                }
                json.writeStartObject();
                json.writeStringField("channel", entry.channel());
                if (entry.since() != null) {
                    json.writeStringField("since", entry.since());
                }
                if (entry.mode() != null) {
                    json.writeStringField("mode", entry.mode().wire());
                }
                json.writeEndObject();
            }
            json.writeEndArray();
            if (since != null) {
                json.writeStringField("since", since);
            }
        });
    }

    /**
     * Ends subscriptions.
     *
     * @param id repeated in the answers; may be {@code null}
     * @param channels as they were subscribed
     * @return the message
     */
    public static String unsubscribe(RequestId id, List<String> channels) {
        return message("unsubscribe", id, json -> {
            json.writeArrayFieldStart("channels");
            for (String channel : channels) {
                json.writeString(channel);
            }
            json.writeEndArray();
        });
    }

    /**
     * Asks for a pong.
     *
     * @param id repeated in the answer; may be {@code null}
     * @return the message
     */
    public static String ping(RequestId id) {
        return message("ping", id, json -> { });
    }

    /**
     * Signs in, or refreshes the token.
     *
     * @param id repeated in the answer; may be {@code null}
     * @param token never logged
     * @return the message, which is as secret as the token
     */
    public static String auth(RequestId id, String token) {
        return message("auth", id, json -> json.writeStringField("token", token));
    }

    /**
     * Publishes.
     *
     * @param id repeated in the answer; may be {@code null}
     * @param channel not a pattern
     * @param data one JSON value that passed {@link Payload#check}
     * @return the message
     */
    public static String publish(RequestId id, String channel, String data) {
        return message("publish", id, json -> {
            json.writeStringField("channel", channel);
            json.writeFieldName("data");
            json.writeRawValue(data);
        });
    }

    private static String message(String type, RequestId id, Body body) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = JSON.createGenerator(text)) {
            json.writeStartObject();
            json.writeStringField("type", type);
            if (id != null && id.number() != null) {
                json.writeNumberField("id", id.number());
            } else if (id != null) {
                json.writeStringField("id", id.text());
            }
            body.write(json);
            json.writeEndObject();
        } catch (IOException impossible) {
            throw new UncheckedIOException("a text takes any message", impossible);
        }
        return text.toString();
    }
}
