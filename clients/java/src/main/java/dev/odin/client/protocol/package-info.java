/**
 * What travels on the wire: names, messages, positions and codes. No sockets, no threads, no clock.
 *
 * <p>It is the twin of {@code crates/protocol} and is held to the same vectors.
 */
package dev.odin.client.protocol;
