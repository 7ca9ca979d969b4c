package dev.odin.client;

import dev.odin.client.protocol.Update;

/**
 * Hears of one subscription. Called on the client's own thread, one call after the other; while one lasts nothing is
 * read from the gateway, and the gateway treats the client as a slow reader: in mode {@code latest} values are merged, in
 * mode {@code all} they wait in the stream.
 */
@FunctionalInterface
public interface ChannelListener {
    /**
     * A publication, never one that came before. For a pattern, {@link Update#channel()} says of which channel.
     *
     * @param update the publication
     */
    void onUpdate(Update update);

    /**
     * Anything else about the subscription: {@link Event.Subscribed}, {@link Event.Gap}, {@link Event.Repeated},
     * {@link Event.Stale}, {@link Event.Live}, {@link Event.Refused}, and {@link Event.Unsubscribed} or {@link Event.Closed} as the last one.
     * {@link Event.Stale} and {@link Event.Live} of the whole connection come here too.
     *
     * @param event what
     */
    default void onEvent(Event event) {
    }
}
