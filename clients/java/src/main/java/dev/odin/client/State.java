package dev.odin.client;

/** How a client stands with its gateway. */
public enum State {
    /** A connection is being made, or the gateway has not said hello. */
    CONNECTING,
    /** Connected; the gateway has not accepted a token yet. */
    SIGNING_IN,
    /** Connected, and signed in if there is a source of tokens. */
    LIVE,
    /** There is no connection; the next try comes by itself. */
    WAITING,
    /** There is no connection, because nothing is subscribed. */
    IDLE,
    /** The end. */
    CLOSED
}
