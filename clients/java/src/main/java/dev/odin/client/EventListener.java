package dev.odin.client;

/** Hears of everything that happens to a client. */
@FunctionalInterface
public interface EventListener {
    /**
     * Something has happened. Called on the client's own thread, one event after the other; while it lasts nothing is
     * read from the gateway. What it throws is logged, and nothing else.
     *
     * @param event what
     */
    void onEvent(Event event);
}
