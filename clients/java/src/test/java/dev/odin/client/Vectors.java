package dev.odin.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The golden messages that the tests of every language read. */
public final class Vectors {
    private static final Path FOLDER = Path.of("..", "..", "crates", "protocol", "vectors");

    private Vectors() {
    }

    /** The cases of one file. */
    public static JsonNode read(String file) {
        try {
            return new ObjectMapper().readTree(text(file));
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }

    /** A file as it is written. */
    public static String text(String file) throws IOException {
        return Files.readString(FOLDER.resolve(file));
    }
}
