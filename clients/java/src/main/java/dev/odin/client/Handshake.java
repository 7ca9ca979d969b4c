package dev.odin.client;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The HTTP that begins a WebSocket (RFC 6455, section 4.1): ask, and check the answer. */
final class Handshake {
    private static final String ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    /** Longest head of an answer. */
    private static final int MAX_HEAD = 16 * 1024;

    private final String key;
    private final String protocol;
    private final byte[] request;

    /** The answer was not 101. */
    static final class Refused extends IOException {
        private static final long serialVersionUID = 1;
        private final transient Transport.Failure failure;

        private Refused(Transport.Failure failure) {
            super(failure.cause());
            this.failure = failure;
        }

        Transport.Failure failure() {
            return failure;
        }
    }

    /** {@code protocol} is the only sub-protocol offered, and taken. */
    Handshake(URI url, String protocol) {
        this.protocol = protocol;
        byte[] nonce = new byte[16];
        new SecureRandom().nextBytes(nonce);
        key = Base64.getEncoder().encodeToString(nonce);
        String path = url.getRawPath() == null || url.getRawPath().isEmpty() ? "/" : url.getRawPath();
        String query = url.getRawQuery() == null ? "" : "?" + url.getRawQuery();
        String port = url.getPort() < 0 ? "" : ":" + url.getPort();
        request = ("GET " + path + query + " HTTP/1.1\r\nHost: " + url.getHost() + port
                + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key
                + "\r\nSec-WebSocket-Protocol: " + protocol + "\r\nUser-Agent: odin-client-java\r\n\r\n")
                .getBytes(StandardCharsets.US_ASCII);
    }

    /** Asks, and reads exactly the head of the answer: what follows are frames. */
    void shake(InputStream in, OutputStream out) throws IOException {
        out.write(request);
        out.flush();
        String[] lines = head(in).split("\r\n");
        String[] status = lines[0].split(" ", 3);
        if (status.length < 2 || !status[0].startsWith("HTTP/1.") || !status[1].matches("[1-5][0-9]{2}")) {
            throw new Frames.Violation("answer is not HTTP");
        }
        Map<String, String> headers = new HashMap<>();
        for (int at = 1; at < lines.length; at++) {
            int colon = lines[at].indexOf(':');
            if (colon > 0) {
                String name = lines[at].substring(0, colon).toLowerCase(Locale.ROOT);
                headers.merge(name, lines[at].substring(colon + 1).trim(), (one, other) -> one + "," + other);
            }
        }
        int code = Integer.parseInt(status[1]);
        if (code != 101) {
            throw new Refused(Transport.Failure.refused(code, headers.get("retry-after")));
        }
        check(headers);
    }

    private void check(Map<String, String> headers) throws IOException {
        boolean isUpgrade = "websocket".equalsIgnoreCase(headers.get("upgrade"))
                && headers.getOrDefault("connection", "").toLowerCase(Locale.ROOT).contains("upgrade");
        if (!isUpgrade) {
            throw new Frames.Violation("answer is not an upgrade to websocket");
        }
        if (!accept(key).equals(headers.get("sec-websocket-accept"))) {
            throw new Frames.Violation("answer does not fit the handshake's key");
        }
        if (!protocol.equals(headers.get("sec-websocket-protocol"))) {
            throw new Frames.Violation("answer names another sub-protocol");
        }
        if (headers.containsKey("sec-websocket-extensions")) {
            throw new Frames.Violation("answer names an extension that was not offered");
        }
    }

    static String accept(String key) {
        try {
            byte[] text = (key + ACCEPT_GUID).getBytes(StandardCharsets.US_ASCII);
            return Base64.getEncoder().encodeToString(MessageDigest.getInstance("SHA-1").digest(text));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-1", impossible);
        }
    }

    private static String head(InputStream in) throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.indexOf("\r\n\r\n", head.length() - 4) < 0) {
            int next = in.read();
            if (next < 0) {
                throw new IOException("ended without an answer");
            }
            head.append((char) next);
            if (head.length() > MAX_HEAD) {
                throw new Frames.Violation("answer with a head of more than " + MAX_HEAD + " bytes");
            }
        }
        return head.toString();
    }
}
