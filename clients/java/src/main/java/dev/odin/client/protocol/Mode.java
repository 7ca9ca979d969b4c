package dev.odin.client.protocol;

/** What a subscription delivers to a client that falls behind. */
public enum Mode {
    /** The newest value; what lies between is merged away. */
    LATEST("latest"),
    /** Every publication, in order. */
    ALL("all");

    private final String wire;

    Mode(String wire) {
        this.wire = wire;
    }

    /**
     * The name on the wire.
     *
     * @return {@code latest} or {@code all}
     */
    public String wire() {
        return wire;
    }

    static Mode of(String wire) throws ProtocolException {
        for (Mode mode : values()) {
            if (mode.wire.equals(wire)) {
                return mode;
            }
        }
        throw new ProtocolException("unknown mode");
    }
}
