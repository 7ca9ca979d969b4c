package dev.odin.client.protocol;

/** Reads what a gateway says: leniently, so that an old client survives a new gateway. */
public final class MessageReader {
    private MessageReader() {
    }

    /**
     * Reads one whole message. Members that are not known are ignored.
     *
     * @param json the text of a frame
     * @return the message; {@link ServerMessage.Unknown} for a type that is not known
     * @throws ProtocolException if it is no message, or lacks a member it must have
     */
    public static ServerMessage read(String json) throws ProtocolException {
        Members message = Members.read(json);
        String type = message.text("type");
        switch (type) {
            case "update":
                return new Update(message.text("channel"), message.optionalText("key"), message.number("seq"),
                        message.optionalNumber("prev"), message.number("ts"), message.text("epoch"),
                        message.optionalFlag("snapshot"), message.data());
            case "connection:status":
                return new ServerMessage.Status(message.text("status"), message.text("connectionId"),
                        message.number("heartbeatMs"), message.optionalNumber("idleTimeoutMs"),
                        message.number("connectedClients"), message.number("maxMessageBytes"),
                        message.optionalText("epoch"), message.optionalText("server"));
            case "subscribed":
                String resume = message.optionalText("reason");
                return new ServerMessage.Subscribed(message.optionalId(), message.text("channel"),
                        Mode.of(message.text("mode")), message.flag("recovered"),
                        resume == null ? null : ResumeReason.of(resume), message.optionalText("cursor"));
            case "unsubscribed":
                return new ServerMessage.Unsubscribed(message.optionalId(), message.text("channel"));
            case "gap":
                return new ServerMessage.Gap(message.text("channel"), message.optionalText("key"),
                        message.number("after"), message.number("until"), GapReason.of(message.text("reason")));
            case "stale":
                String stale = message.optionalText("reason");
                return new ServerMessage.Stale(message.optionalText("channel"),
                        stale == null ? null : StaleReason.of(stale), message.optionalNumber("since"));
            case "live":
                return new ServerMessage.Live(message.optionalText("channel"));
            case "checkpoint":
                return new ServerMessage.Checkpoint(message.text("cursor"));
            case "system:status":
                return new ServerMessage.SystemStatus(SystemState.of(message.text("status")),
                        message.optionalNumber("reconnectInMs"), message.optionalNumber("expiresInMs"),
                        message.optionalText("message"));
            case "pong":
                return new ServerMessage.Pong(message.optionalId(), message.number("ts"));
            case "authenticated":
                return new ServerMessage.Authenticated(message.optionalId(), message.text("sub"),
                        message.optionalNumber("expiresAt"));
            case "published":
                return new ServerMessage.Published(message.optionalId(), message.text("channel"),
                        message.number("seq"), message.text("epoch"));
            case "error":
                return new ServerMessage.Error(message.optionalId(), ErrorCode.of(message.text("code")),
                        message.text("message"), message.optionalText("channel"), message.optionalNumber("limit"),
                        message.optionalNumber("retryAfterMs"));
            default:
                return new ServerMessage.Unknown(type);
        }
    }
}
