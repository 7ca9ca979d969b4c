package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.odin.client.protocol.Update;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import okhttp3.OkHttpClient;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The examination that clients of every language take: {@code odin-devkit conform}. */
class ConformanceTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** Shorter waits than by default: the examination is told. */
    private static final Duration BASE = Duration.ofMillis(100);
    private static final Duration CAP = Duration.ofSeconds(1);

    @Test
    @Timeout(300)
    void doesAllThatTheProtocolAsksOfAClient() throws Exception {
        pass(new SocketTransport(1024 * 1024));
    }

    @Test
    @Timeout(300)
    void doesTheSameOverOkHttp() throws Exception {
        pass(new OkHttpTransport(new OkHttpClient()));
    }

    private static void pass(Transport transport) throws Exception {
        List<String> arguments = List.of("--adapter", "--json", "--backoff-base-ms", "" + BASE.toMillis(),
                "--backoff-cap-ms", "" + CAP.toMillis());
        List<OdinClient> clients = new ArrayList<>();
        try (Devkit devkit = Devkit.start("conform", arguments)) {
            for (JsonNode scenario : devkit.read().get("scenarios")) {
                clients.add(takePart(devkit, scenario, transport));
            }
            JsonNode line = devkit.read();
            while (!line.has("behaviours")) {
                assertTrue(line.get("hitch").isNull(), line.toString());
                line = devkit.read();
            }
            for (JsonNode behaviour : line.get("behaviours")) {
                assertEquals("shown", behaviour.get("verdict").asText(), behaviour.toString());
            }
            assertEquals(0, devkit.exitStatus());
        } finally {
            clients.forEach(OdinClient::close);
        }
    }

    /** The application of one scenario. */
    private static OdinClient takePart(Devkit devkit, JsonNode scenario, Transport transport) {
        String name = scenario.get("name").asText();
        ClientOptions.Builder options = ClientOptions.builder(scenario.get("url").asText())
                .transport(transport)
                .backoff(BASE, CAP)
                .listener(event -> report(devkit, name, event));
        AtomicInteger asked = new AtomicInteger();
        if (scenario.get("tokens").asBoolean()) {
            options.tokens(() -> CompletableFuture.completedFuture("token-" + asked.incrementAndGet()));
        }
        OdinClient client = OdinClient.connect(options.build());
        scenario.get("subscribe").forEach(channel -> client.subscribe(channel.asText(), update -> { }));
        for (int number = 0; number < scenario.get("publish").asInt(); number++) {
            // what becomes of them is for the examination to see
            client.publish("chat:lobby", "{\"number\":" + number + "}");
        }
        return client;
    }

    /** Tells what the application got, where the examination asks for that. */
    private static void report(Devkit devkit, String scenario, Event event) {
        ObjectNode line = JSON.createObjectNode().put("scenario", scenario);
        if (event instanceof Event.Updated updated) {
            Update update = updated.update();
            line.put("got", "update").put("channel", update.channel()).put("seq", update.seq());
        } else if (event instanceof Event.Gap gap) {
            line.put("got", "gap").put("channel", gap.channel());
        } else if (event instanceof Event.Subscribed subscribed && subscribed.isAnew()) {
            line.put("got", "loss").put("channel", subscribed.channel());
        } else if (event instanceof Event.Stale) {
            line.put("got", "stale");
        } else if (event instanceof Event.Live) {
            line.put("got", "live");
        } else if (event instanceof Event.Closed) {
            line.put("got", "closed");
        } else {
            return;
        }
        devkit.write(line);
    }
}
