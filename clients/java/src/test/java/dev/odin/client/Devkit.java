package dev.odin.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;

/** {@code odin-devkit} as a child that is spoken to by lines. It ends with its input, so it does not outlive a test. */
final class Devkit implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Process process;
    private final BufferedReader answers;
    private final OutputStream orders;

    private Devkit(List<String> command) throws IOException {
        process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        answers = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        orders = process.getOutputStream();
    }

    /** Starts one of its commands; the test is skipped where there is no such program. */
    static Devkit start(String command, List<String> arguments) throws IOException {
        List<String> all = new ArrayList<>(List.of(program("odin.devkit", "ODIN_DEVKIT").toString(), command));
        all.addAll(arguments);
        return new Devkit(all);
    }

    /** A program that a system property or a variable names. */
    static Path program(String property, String variable) {
        String named = System.getProperty(property);
        String path = named == null || named.isEmpty() ? System.getenv(variable) : named;
        Assumptions.assumeTrue(path != null && !path.isEmpty(), "neither -D" + property + " nor " + variable + " is set");
        if (!Files.isExecutable(Path.of(path))) {
            throw new IllegalStateException(path + " cannot be run");
        }
        return Path.of(path);
    }

    /** The next line it says; {@code null} at its end. */
    JsonNode read() throws IOException {
        String line = answers.readLine();
        return line == null ? null : JSON.readTree(line);
    }

    /** Tells it something; from any thread. */
    void write(JsonNode line) {
        synchronized (orders) {
            try {
                orders.write((line + "\n").getBytes(StandardCharsets.UTF_8));
                orders.flush();
            } catch (IOException gone) {
                // what it did not say before its end is told by the test that waits for it
            }
        }
    }

    int exitStatus() throws InterruptedException {
        return process.waitFor(10, TimeUnit.SECONDS) ? process.exitValue() : -1;
    }

    @Override
    public void close() throws IOException {
        orders.close();
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException interrupted) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
