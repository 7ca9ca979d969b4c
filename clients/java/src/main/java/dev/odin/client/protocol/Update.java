package dev.odin.client.protocol;

/**
 * One publication.
 *
 * @param channel the concrete channel, also for a subscription to a pattern
 * @param key which subject of the channel, where one channel covers several; else {@code null}
 * @param seq sequence in the stream, from 1
 * @param prev previous sequence of the same chain, 0 for the first; {@code null} in a snapshot and where it is not known
 * @param ts when the stream stored it, in milliseconds since 1970
 * @param epoch the stream
 * @param snapshot whether it is the last stored value, sent because the subscription begins
 * @param data the publisher's JSON, untouched
 */
public record Update(String channel, String key, long seq, Long prev, long ts, String epoch, boolean snapshot,
        String data) implements ServerMessage {
    /**
     * Its position, good for coming back to an exact channel.
     *
     * @return the cursor of this update
     */
    public Cursor cursor() {
        return new Cursor(epoch, seq, ts);
    }
}
