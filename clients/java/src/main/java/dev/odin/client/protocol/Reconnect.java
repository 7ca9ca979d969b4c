package dev.odin.client.protocol;

/** Whether and how fast a client comes back. */
public enum Reconnect {
    /** With the first steps of the back-off. */
    SOON,
    /** With later steps of the back-off: coming back at once would meet the same answer. */
    LATER,
    /** Not by itself: someone has to change something first. */
    NEVER;

    /**
     * What any close code asks for, known or not.
     *
     * @param code of a close frame; 1005 or 1006 where there was none
     * @return how to come back
     */
    public static Reconnect forCode(int code) {
        CloseCode known = CloseCode.of(code);
        if (known != null) {
            return known.reconnect();
        }
        if (code == 1005 || code == 1006) {
            return SOON;
        }
        return code >= 4400 && code <= 4999 ? NEVER : LATER;
    }
}
