package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class FramesTest {
    private static final int MOST = 300_000;

    private static Frames frames(int... bytes) {
        byte[] given = new byte[bytes.length];
        for (int at = 0; at < bytes.length; at++) {
            given[at] = (byte) bytes[at];
        }
        return new Frames(new ByteArrayInputStream(given), MOST);
    }

    @Test
    void writesFramesOfEveryLengthMaskedAndWhole() throws IOException {
        for (int length : new int[] {0, 1, 125, 126, 65_535, 65_536}) {
            byte[] payload = "x".repeat(length).getBytes(StandardCharsets.UTF_8);
            byte[] frame = Frames.write(Frames.TEXT, payload);
            int head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
            assertEquals(head + 4 + length, frame.length);
            assertEquals(0x81, frame[0] & 0xFF);
            assertEquals(0x80, frame[1] & 0x80);
            // without mask it is what a gateway would send
            ByteArrayOutputStream plain = new ByteArrayOutputStream();
            plain.write(frame, 0, head);
            for (int at = 0; at < length; at++) {
                plain.write(frame[head + 4 + at] ^ frame[head + (at & 3)]);
            }
            byte[] unmasked = plain.toByteArray();
            unmasked[1] &= 0x7F;
            assertArrayEquals(payload, new Frames(new ByteArrayInputStream(unmasked), MOST).read().payload());
        }
    }

    @Test
    void assemblesFragmentsWithPingsBetweenThem() throws IOException {
        Frames frames = frames(0x01, 1, 'a', 0x89, 1, 'p', 0x00, 1, 'b', 0x80, 1, 'c', 0x81, 1, 'd');
        assertEquals(0, frames.read().opcode());
        assertEquals(Frames.PING, frames.read().opcode());
        assertEquals(0, frames.read().opcode());
        Frames.Frame whole = frames.read();
        assertEquals(Frames.TEXT, whole.opcode());
        assertEquals("abc", Frames.text(whole.payload(), 0));
        assertEquals("d", Frames.text(frames.read().payload(), 0));
        assertThrows(EOFException.class, frames::read);
    }

    /** Checklist 22 to 28, from the other side: what no gateway may send. */
    @Test
    void refusesWhatBreaksTheProtocol() {
        int[][] broken = {
            {0x81, 0x81, 0, 0, 0, 0, 'x'}, // masked
            {0xC1, 0}, // a reserved bit
            {0x83, 0}, // reserved opcodes
            {0x8B, 0},
            {0x09, 0}, // a ping in parts
            {0x89, 126, 0, 126}, // a long ping
            {0x80, 0}, // continues nothing
            {0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, // 2^63
            {0x81, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, // no memory has that
            {0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 0}, // above the limit
        };
        for (int[] bytes : broken) {
            assertThrows(Frames.Violation.class, () -> frames(bytes).read());
        }
        Frames inside = frames(0x01, 0, 0x01, 0);
        assertThrows(Frames.Violation.class, () -> {
            inside.read();
            inside.read();
        });
        assertThrows(Frames.Violation.class, () -> Frames.text(new byte[] {(byte) 0xC0, (byte) 0xAF}, 0));
    }

    /** Checklist 26: endless fragments, empty ones and ones that add up. */
    @Test
    void refusesEndlessFragments() {
        int[] empty = new int[2 + 2 * 5_000];
        empty[0] = 0x01;
        Frames endless = frames(empty);
        assertThrows(Frames.Violation.class, () -> {
            while (true) {
                endless.read();
            }
        });
        int[] large = new int[2 * (4 + 65_535) * 5];
        for (int part = 0; part < large.length / (4 + 65_535); part++) {
            int at = part * (4 + 65_535);
            large[at] = part == 0 ? 0x01 : 0x00;
            large[at + 1] = 126;
            large[at + 2] = 0xFF;
            large[at + 3] = 0xFF;
        }
        Frames adding = frames(large);
        assertThrows(Frames.Violation.class, () -> {
            while (true) {
                adding.read();
            }
        });
    }

    /** Checklist 25: a length that is only claimed takes no memory. */
    @Test
    void aClaimedLengthIsNotBelieved() {
        Frames claimed = new Frames(new ByteArrayInputStream(new byte[] {(byte) 0x81, 127, 0, 0, 0, 0, 0x70, 0, 0, 0, 'x'}),
                Integer.MAX_VALUE);
        assertThrows(EOFException.class, claimed::read);
    }

    @Test
    void knowsTheCodeOfACloseFrame() {
        assertEquals(1005, Frames.codeOf(new byte[0]));
        assertEquals(4403, Frames.codeOf(Frames.closing(4403)));
        assertTrue(Handshake.accept("dGhlIHNhbXBsZSBub25jZQ==").equals("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}
