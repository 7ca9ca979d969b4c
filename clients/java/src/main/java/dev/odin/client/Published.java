package dev.odin.client;

/**
 * A publication that the stream has stored.
 *
 * @param channel as asked for
 * @param seq its sequence
 * @param epoch the stream
 */
public record Published(String channel, long seq, String epoch) {
}
