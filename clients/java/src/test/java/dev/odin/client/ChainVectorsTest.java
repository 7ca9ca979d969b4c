package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.MessageReader;
import dev.odin.client.protocol.ServerMessage;
import dev.odin.client.protocol.Update;
import org.junit.jupiter.api.Test;

/** What a client makes of each message, against the golden vectors. */
class ChainVectorsTest {
    @Test
    void everyMessageIsJudgedAsTheProtocolSays() throws Exception {
        for (JsonNode given : Vectors.read("chains.json")) {
            CursorMap map = new CursorMap();
            int at = 0;
            for (JsonNode step : given.get("messages")) {
                ServerMessage message = MessageReader.read(step.get("message").toString());
                String what = given.get("name").asText() + ", message " + at;
                assertEquals(step.get("expect").asText(), judge(map, message), what);
                at += 1;
            }
        }
    }

    private static String judge(CursorMap map, ServerMessage message) {
        if (message instanceof ServerMessage.Subscribed begin) {
            map.begin(Channel.parse(begin.channel()), begin.mode(), begin.recovered(), begin.reason(), begin.cursor());
            return "begin";
        }
        if (message instanceof ServerMessage.Gap gap) {
            map.gap(Channel.parse(gap.channel()), gap.key(), gap.until());
            return "gap";
        }
        if (message instanceof ServerMessage.Checkpoint checkpoint) {
            map.checkpoint(checkpoint.cursor());
            return "position";
        }
        return switch (map.update((Update) message).kind()) {
            case DELIVER -> "deliver";
            case MERGED -> "merged";
            case MISSING -> "missing";
            case OVERLAP, REPEATED -> "drop";
            case STRAY -> "stray";
        };
    }
}
