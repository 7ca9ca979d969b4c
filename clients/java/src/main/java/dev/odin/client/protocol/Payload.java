package dev.odin.client.protocol;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.IOException;

/** What a gateway passes on: one JSON value, not too deep, without what some readers cannot read. */
public final class Payload {
    /** Deepest nesting. */
    public static final int MAX_DEPTH = 64;

    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
            .build();

    private Payload() {
    }

    /**
     * Checks the data of a publication.
     *
     * @param json what an application wants to publish
     * @throws IllegalArgumentException if it is not exactly one JSON value nested at most {@value #MAX_DEPTH} deep, with
     *     numbers in the range of a double and without lone surrogates; the message does not repeat it
     */
    public static void check(String json) {
        try (JsonParser parser = JSON.createParser(json)) {
            JsonToken token = parser.nextToken();
            if (token == null) {
                throw new IllegalArgumentException("data is empty");
            }
            int depth = 0;
            do {
                depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
                checkScalar(parser, token);
                token = parser.nextToken();
            } while (depth > 0 && token != null);
            if (token != null) {
                throw new IllegalArgumentException("data is more than one value");
            }
        } catch (IOException invalid) {
            // its own words would repeat the data
            throw new IllegalArgumentException("data is not JSON, or nested deeper than " + MAX_DEPTH);
        }
    }

    private static void checkScalar(JsonParser parser, JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_STRING || token == JsonToken.FIELD_NAME) {
            checkSurrogates(parser.getText());
        } else if (token.isNumeric() && Double.isInfinite(Double.parseDouble(parser.getText()))) {
            throw new IllegalArgumentException("data has a number beyond the range of a double");
        }
    }

    private static void checkSurrogates(String text) {
        for (int at = 0; at < text.length(); at++) {
            char unit = text.charAt(at);
            boolean isPair = Character.isHighSurrogate(unit) && at + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(at + 1));
            if (Character.isSurrogate(unit) && !isPair) {
                throw new IllegalArgumentException("data has a lone surrogate");
            }
            at += isPair ? 1 : 0;
        }
    }
}
