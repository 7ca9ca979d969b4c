package dev.odin.client.protocol;

import java.util.Objects;

/**
 * A channel's name or pattern, checked once and then trusted.
 *
 * <p>One to four segments of {@code A-Z a-z 0-9 _ -}, each of 1 to 64 characters, joined by {@code :}; at most 128
 * characters together. A pattern has {@code *} as its last segment and at least one before it.
 */
public final class Channel {
    /** Longest name, in bytes. */
    public static final int MAX_BYTES = 128;
    /** Most segments of a name. */
    public static final int MAX_SEGMENTS = 4;
    /** Longest segment, in bytes. */
    public static final int MAX_SEGMENT_BYTES = 64;

    private final String text;

    private Channel(String text) {
        this.text = text;
    }

    /**
     * Reads a name or pattern.
     *
     * @param text as a person or a gateway wrote it
     * @return the channel
     * @throws IllegalArgumentException if it breaks the grammar; the message does not repeat the text
     */
    public static Channel parse(String text) {
        if (text.length() > MAX_BYTES) {
            throw new IllegalArgumentException("channel name longer than " + MAX_BYTES + " bytes");
        }
        int segments = 0;
        int start = 0;
        while (true) {
            int colon = text.indexOf(':', start);
            int end = colon < 0 ? text.length() : colon;
            boolean isPattern = colon < 0 && segments > 0 && end - start == 1 && text.charAt(start) == '*';
            if (!isPattern) {
                checkSegment(text, start, end);
            }
            segments += 1;
            if (colon < 0) {
                break;
            }
            start = colon + 1;
        }
        if (segments > MAX_SEGMENTS) {
            throw new IllegalArgumentException("channel name with more than " + MAX_SEGMENTS + " segments");
        }
        return new Channel(text);
    }

    private static void checkSegment(String text, int start, int end) {
        if (start == end) {
            throw new IllegalArgumentException("channel name with an empty segment");
        }
        if (end - start > MAX_SEGMENT_BYTES) {
            throw new IllegalArgumentException("channel segment longer than " + MAX_SEGMENT_BYTES + " bytes");
        }
        for (int at = start; at < end; at++) {
            char letter = text.charAt(at);
            boolean isAllowed = letter >= 'A' && letter <= 'Z' || letter >= 'a' && letter <= 'z'
                    || letter >= '0' && letter <= '9' || letter == '_' || letter == '-';
            if (!isAllowed) {
                throw new IllegalArgumentException("channel name with a character that is not allowed");
            }
        }
    }

    /**
     * Whether a text is a name or pattern.
     *
     * @param text any text
     * @return whether {@link #parse} takes it
     */
    public static boolean isValid(String text) {
        try {
            parse(text);
            return true;
        } catch (IllegalArgumentException invalid) {
            return false;
        }
    }

    /**
     * Whether this is a pattern.
     *
     * @return whether its last segment is {@code *}
     */
    public boolean isPattern() {
        return text.endsWith(":*");
    }

    /**
     * Whether this channel, or one of those this pattern covers, is {@code other}.
     *
     * @param other a name; no pattern covers a pattern but itself
     * @return whether it is covered
     */
    public boolean covers(Channel other) {
        if (!isPattern() || other.isPattern()) {
            return text.equals(other.text);
        }
        int prefix = text.length() - 1;
        return other.text.length() > prefix && other.text.startsWith(text.substring(0, prefix))
                && other.text.indexOf(':', prefix) < 0;
    }

    /**
     * The only pattern that covers this name.
     *
     * @return the pattern's text; {@code null} if no pattern can
     */
    public String coveringPattern() {
        int colon = text.lastIndexOf(':');
        return colon < 0 || isPattern() ? null : text.substring(0, colon) + ":*";
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Channel && text.equals(((Channel) other).text);
    }

    @Override
    public int hashCode() {
        return Objects.hashCode(text);
    }

    /** The name as it is written. */
    @Override
    public String toString() {
        return text;
    }
}
