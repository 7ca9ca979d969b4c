package dev.odin.client;

/** Text of others, made safe to show to a person. */
final class Text {
    private Text() {
    }

    /** The text with control characters, and invisible ones that turn or hide text, replaced by {@code ?}. */
    static String printable(String text) {
        StringBuilder shown = new StringBuilder(text.length());
        for (int at = 0; at < text.length(); at++) {
            char unit = text.charAt(at);
            shown.append(isUnsafe(unit) ? '?' : unit);
        }
        return shown.toString();
    }

    private static boolean isUnsafe(char unit) {
        return Character.isISOControl(unit) || unit >= '\u200b' && unit <= '\u200f'
                || unit >= '\u2028' && unit <= '\u202e' || unit >= '\u2060' && unit <= '\u2069' || unit == '\ufeff';
    }
}
