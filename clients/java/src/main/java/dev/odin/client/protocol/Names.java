package dev.odin.client.protocol;

import java.util.Locale;

/** Enums that travel as a fixed set of strings. */
final class Names {
    private Names() {
    }

    /** The constant of a name; {@code unknown} where this client does not know it. */
    static <E extends Enum<E>> E of(E[] constants, String wire, E unknown) {
        for (E constant : constants) {
            if (constant != unknown && constant.name().toLowerCase(Locale.ROOT).equals(wire)) {
                return constant;
            }
        }
        return unknown;
    }
}
