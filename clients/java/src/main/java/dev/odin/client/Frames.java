package dev.odin.client;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Arrays;

/** RFC 6455 frames of one connection, the client's side: written with a mask, read strictly. No threads, no clock. */
final class Frames {
    static final int TEXT = 0x1;
    static final int BINARY = 0x2;
    static final int CLOSE = 0x8;
    static final int PING = 0x9;
    static final int PONG = 0xA;
    /** Close code of a close frame that has none. */
    static final int NO_CODE = 1005;

    private static final int CONTINUATION = 0x0;
    private static final int FINAL = 0x80;
    private static final int MASKED = 0x80;
    private static final int MAX_CONTROL = 125;
    /** Frames of one message; a gateway sends one. */
    private static final int MAX_FRAGMENTS = 4_096;
    /** Read at once, so that a length that is only claimed takes no memory. */
    private static final int PIECE = 64 * 1024;
    private static final SecureRandom RANDOM = new SecureRandom();

    /** The other side broke the protocol or a limit. */
    static final class Violation extends IOException {
        private static final long serialVersionUID = 1;

        Violation(String message) {
            super(message);
        }
    }

    /**
     * A message, a control frame, or a part of a message ({@code opcode} 0, of which nothing is given).
     *
     * @param opcode what it is
     * @param payload the bytes
     */
    record Frame(int opcode, byte[] payload) {
    }

    private final DataInputStream in;
    private final int maxBytes;
    private byte[] partial;
    private int partialOpcode;
    private int fragments;

    Frames(InputStream in, int maxBytes) {
        this.in = new DataInputStream(in);
        this.maxBytes = maxBytes;
    }

    /** A whole frame of a client. */
    static byte[] write(int opcode, byte[] payload) {
        int extended = payload.length <= MAX_CONTROL ? 0 : payload.length <= 0xFFFF ? 2 : 8;
        ByteBuffer frame = ByteBuffer.allocate(2 + extended + 4 + payload.length);
        frame.put((byte) (FINAL | opcode));
        if (extended == 0) {
            frame.put((byte) (MASKED | payload.length));
        } else if (extended == 2) {
            frame.put((byte) (MASKED | 126)).putShort((short) payload.length);
        } else {
            frame.put((byte) (MASKED | 127)).putLong(payload.length);
        }
        byte[] mask = new byte[4];
        RANDOM.nextBytes(mask);
        frame.put(mask);
        for (int at = 0; at < payload.length; at++) {
            frame.put((byte) (payload[at] ^ mask[at & 3]));
        }
        return frame.array();
    }

    /** The payload of a close frame. */
    static byte[] closing(int code) {
        return new byte[] {(byte) (code >> 8), (byte) code};
    }

    /** The code of a close frame, {@link #NO_CODE} without one. */
    static int codeOf(byte[] closing) {
        return closing.length < 2 ? NO_CODE : (closing[0] & 0xFF) << 8 | closing[1] & 0xFF;
    }

    /** Bytes as text; {@link Violation} if they are none. */
    static String text(byte[] bytes, int from) throws Violation {
        try {
            ByteBuffer part = ByteBuffer.wrap(bytes, from, bytes.length - from);
            return StandardCharsets.UTF_8.newDecoder().decode(part).toString();
        } catch (CharacterCodingException invalid) {
            throw new Violation("text is not utf-8");
        }
    }

    /** The next frame or assembled message; waits for it. An end without a close frame is an {@link IOException}. */
    Frame read() throws IOException {
        int first = in.readUnsignedByte();
        int second = in.readUnsignedByte();
        int opcode = first & 0x0F;
        boolean isFinal = (first & FINAL) != 0;
        if ((first & 0x70) != 0 || (second & MASKED) != 0) {
            throw new Violation("frame with a reserved bit or a mask");
        }
        long length = second & 0x7F;
        if (opcode >= CLOSE) {
            if (opcode > PONG || !isFinal || length > MAX_CONTROL) {
                throw new Violation("control frame that is none");
            }
            return new Frame(opcode, bytes((int) length));
        }
        if (length == 126) {
            length = in.readUnsignedShort();
        } else if (length == 127) {
            length = in.readLong();
        }
        int held = partial == null ? 0 : partial.length;
        fragments += 1;
        if (length < 0 || length > maxBytes - held || fragments > MAX_FRAGMENTS) {
            throw new Violation("message too big");
        }
        boolean isContinued = opcode == CONTINUATION;
        if (opcode > BINARY || isContinued == (partial == null)) {
            throw new Violation("frame out of its order");
        }
        byte[] payload = bytes((int) length);
        if (!isContinued) {
            partialOpcode = opcode;
        } else {
            byte[] whole = new byte[held + payload.length];
            System.arraycopy(partial, 0, whole, 0, held);
            System.arraycopy(payload, 0, whole, held, payload.length);
            payload = whole;
        }
        if (!isFinal) {
            partial = payload;
            return new Frame(CONTINUATION, new byte[0]);
        }
        partial = null;
        fragments = 0;
        return new Frame(partialOpcode, payload);
    }

    private byte[] bytes(int length) throws IOException {
        byte[] bytes = new byte[Math.min(length, PIECE)];
        int read = 0;
        while (read < length) {
            if (read == bytes.length) {
                bytes = Arrays.copyOf(bytes, (int) Math.min(length, bytes.length * 2L));
            }
            int more = bytes.length - read;
            in.readFully(bytes, read, more);
            read += more;
        }
        return bytes;
    }
}
