package dev.odin.client.protocol;

/**
 * A position in the stream as version 1 writes it: {@code 1.epoch.seq.ts}.
 *
 * <p>A client hands cursors back as they came, whatever their form. It reads them only to compare positions, and writes
 * one only for the last update of an exact channel.
 *
 * @param epoch identity of the stream
 * @param seq everything up to it was delivered; unsigned
 * @param ts stream time of that sequence, in milliseconds since 1970
 */
public record Cursor(String epoch, long seq, long ts) {
    /** Longest cursor of any form, in bytes. */
    public static final int MAX_BYTES = 64;
    /** Length of an epoch, in bytes. */
    public static final int EPOCH_BYTES = 8;

    /**
     * Reads a cursor of version 1.
     *
     * @param text a cursor of any form
     * @return the position; {@code null} if it is of another form
     */
    public static Cursor parse(String text) {
        if (text.length() > MAX_BYTES) {
            return null;
        }
        String[] parts = text.split("\\.", -1);
        if (parts.length != 4 || !parts[0].equals("1") || !isEpoch(parts[1])) {
            return null;
        }
        try {
            long seq = Long.parseUnsignedLong(parts[2]);
            long ts = Long.parseLong(parts[3]);
            Cursor cursor = new Cursor(parts[1], seq, ts);
            // one spelling for each number: no signs, no leading zeros
            return cursor.toString().equals(text) ? cursor : null;
        } catch (NumberFormatException notDecimal) {
            return null;
        }
    }

    /**
     * Whether a gateway could take a text as a cursor. Its form is the gateway's affair.
     *
     * @param text any text
     * @return whether it has 1 to 64 characters
     */
    public static boolean isPossible(String text) {
        return !text.isEmpty() && text.length() <= MAX_BYTES;
    }

    private static boolean isEpoch(String text) {
        if (text.length() != EPOCH_BYTES) {
            return false;
        }
        for (int at = 0; at < EPOCH_BYTES; at++) {
            char digit = text.charAt(at);
            if (!(digit >= '0' && digit <= '9' || digit >= 'a' && digit <= 'z')) {
                return false;
            }
        }
        return true;
    }

    @Override
    public String toString() {
        return "1." + epoch + "." + Long.toUnsignedString(seq) + "." + ts;
    }
}
