package dev.odin.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** A real odin: nats-server, gateways and a balancer, by {@code odin-devkit stage}. */
final class Stage implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String SECRET = "what the issuer and the gateway of these tests share";
    /** Prices for everyone, what is a user's own, and a room in which users talk. */
    private static final String CONFIG = """
            [auth]
            algorithms = ["HS256"]
            hs256_secret = "%s"
            leeway = "0s"
            expiry_warning = "0s"

            [[rules]]
            channel = "price:{token}"
            subject = "odin.tokens.{token}.price"
            access = "public"
            mode = "latest"
            client_mode = true
            pattern = true

            [[rules]]
            channel = "trades"
            subject = "odin.users.{sub}.trades"
            access = "owner"
            mode = "all"

            [[rules]]
            channel = "chat:{room}"
            subject = "odin.chat.{room}"
            access = "signed_in"
            mode = "all"
            publish = "signed_in"
            """.formatted(SECRET);

    private final Devkit devkit;
    private final JsonNode addresses;
    private final Path folder;
    private int asked;

    private Stage(Devkit devkit, Path folder) throws IOException {
        this.devkit = devkit;
        this.folder = folder;
        addresses = devkit.read();
        if (addresses == null) {
            throw new IOException("the stage did not start; its words are above");
        }
    }

    /** Starts so many gateways. */
    static Stage start(int gateways) throws IOException {
        String gateway = Devkit.program("odin.gateway", "ODIN_GATEWAY").toString();
        Path folder = Files.createTempDirectory("odin-java-");
        Path config = Files.writeString(folder.resolve("odin.toml"), CONFIG);
        List<String> arguments = new ArrayList<>(List.of("--gateway", gateway, "--gateways", "" + gateways, "--",
                "--config", config.toString(), "--drain-pause", "0s", "--drain-window", "1s"));
        return new Stage(Devkit.start("stage", arguments), folder);
    }

    /** Where clients connect: through the balancer. */
    String url() {
        return "ws://" + addresses.get("balancer").asText() + "/ws";
    }

    /** Gives an order and waits until it is done. */
    JsonNode order(String what, Object... members) throws IOException {
        asked += 1;
        ObjectNode order = JSON.createObjectNode().put("id", asked).put("do", what);
        for (int at = 0; at < members.length; at += 2) {
            order.set((String) members[at], JSON.valueToTree(members[at + 1]));
        }
        devkit.write(order);
        JsonNode answer = devkit.read();
        if (answer == null || !answer.get("ok").asBoolean()) {
            throw new IOException(order + ": " + answer);
        }
        return answer;
    }

    /** Publishes and gives the sequence. */
    long publish(String subject, Object data) throws IOException {
        return order("publish", "subject", subject, "data", data).get("seq").asLong();
    }

    /** The gateway that has the only connection. */
    int occupied() throws IOException {
        while (true) {
            JsonNode connections = order("connections").get("connections");
            for (int index = 0; index < connections.size(); index++) {
                if (connections.get(index).asInt() > 0) {
                    return index;
                }
            }
        }
    }

    /** A token of a user, as an issuer would sign it. */
    static String token(String sub, long secondsToLive) {
        try {
            String head = encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".getBytes(StandardCharsets.UTF_8));
            long expires = System.currentTimeMillis() / 1_000 + secondsToLive;
            // another one each time, also within one second
            String claims = "{\"sub\":\"" + sub + "\",\"exp\":" + expires + ",\"jti\":\"" + System.nanoTime() + "\"}";
            String signed = head + "." + encode(claims.getBytes(StandardCharsets.UTF_8));
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(SECRET.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
            return signed + "." + encode(mac.doFinal(signed.getBytes(StandardCharsets.UTF_8)));
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static String encode(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    @Override
    public void close() throws IOException {
        devkit.close();
        Files.deleteIfExists(folder.resolve("odin.toml"));
        Files.deleteIfExists(folder);
    }
}
