package dev.odin.client.protocol;

/** The other side does not speak the protocol. The message never repeats what it said. */
public final class ProtocolException extends Exception {
    private static final long serialVersionUID = 1;

    /**
     * Something that cannot be read.
     *
     * @param message what is wrong with it
     */
    public ProtocolException(String message) {
        super(message);
    }
}
