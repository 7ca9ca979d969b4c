/**
 * odin's client for Java and Kotlin.
 *
 * <ul>
 *   <li>{@link dev.odin.client.OdinClient}, {@link dev.odin.client.Subscription}, {@link dev.odin.client.Event}: the
 *       application's ends
 *   <li>{@link dev.odin.client.Transport}: the WebSocket underneath, and the seam to take another one
 *   <li>{@code Session} and what it is made of ({@code CursorMap}, {@code Chain}, {@code Wanted}, {@code Auth},
 *       {@code Link}, {@code Publishes}, {@code Backoff}): what to do when, without I/O and clock
 *   <li>{@code Driver}: one thread that carries it out
 * </ul>
 */
package dev.odin.client;
