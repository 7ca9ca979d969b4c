package dev.odin.client.protocol;

/**
 * The client's own name for a request, as an answer repeats it. This client only writes numbers.
 *
 * @param number the number; {@code null} for a text
 * @param text the text; {@code null} for a number
 */
public record RequestId(Long number, String text) {
    /**
     * Whether this is the id of a request.
     *
     * @param id a number that this client has written
     * @return whether it is the same
     */
    public boolean is(long id) {
        return number != null && number == id;
    }
}
