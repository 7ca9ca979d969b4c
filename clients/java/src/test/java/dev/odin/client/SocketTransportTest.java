package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The WebSocket against servers that do what the test says, however wrong. */
@Timeout(60)
class SocketTransportTest {
    private static final char[] PASSWORD = "changeit".toCharArray();

    /** What a server does with a connection. */
    private interface Manners {
        void serve(InputStream in, OutputStream out, String key) throws Exception;
    }

    /** What a transport tells, as text. */
    private static final class Ear implements Transport.Listener {
        private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();

        String next() throws InterruptedException {
            String next = heard.poll(30, TimeUnit.SECONDS);
            return next == null ? "nothing" : next;
        }

        @Override
        public void onOpen(String protocol) {
            heard.add("open " + protocol);
        }

        @Override
        public void onText(String text) {
            heard.add("text " + text);
        }

        @Override
        public void onActivity() {
            heard.add("activity");
        }

        @Override
        public void onClose(int code, String reason) {
            heard.add("close " + code + " " + reason);
        }

        @Override
        public void onFailure(Transport.Failure failure) {
            heard.add("failure " + failure.status() + " " + failure.retryAfterMs() + " " + failure.isProtocol() + " "
                    + failure.cause());
        }
    }

    private static String head(InputStream in) throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.indexOf("\r\n\r\n") < 0) {
            int next = in.read();
            if (next < 0) {
                throw new IOException("gone");
            }
            head.append((char) next);
        }
        return head.toString();
    }

    private static int serve(ServerSocket listening, Manners manners) {
        Thread thread = new Thread(() -> {
            try (Socket socket = listening.accept()) {
                String head = head(socket.getInputStream());
                String key = head.replaceAll("(?s).*Sec-WebSocket-Key: (\\S+).*", "$1");
                manners.serve(socket.getInputStream(), socket.getOutputStream(), key);
            } catch (Exception gone) {
                // the client left, or did not believe us
            }
        });
        thread.setDaemon(true);
        thread.start();
        return listening.getLocalPort();
    }

    private static ServerSocket listen() throws IOException {
        return new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
    }

    private static void say(OutputStream out, String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.ISO_8859_1));
        out.flush();
    }

    private static String welcome(String key) {
        return "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
                + "Sec-WebSocket-Accept: " + Handshake.accept(key) + "\r\nSec-WebSocket-Protocol: odin.v1.json\r\n\r\n";
    }

    /** What the client makes of a server. */
    private static String outcome(Manners manners) throws Exception {
        try (ServerSocket listening = listen()) {
            URI url = URI.create("ws://127.0.0.1:" + serve(listening, manners) + "/ws");
            Ear ear = new Ear();
            new SocketTransport(300_000).connect(url, "odin.v1.json", Duration.ofMillis(500), ear);
            String first = ear.next();
            return first.startsWith("open") ? ear.next() : first;
        }
    }

    @Test
    void readsWritesAndAnswersPings() throws Exception {
        try (ServerSocket listening = listen()) {
            BlockingQueue<Integer> got = new LinkedBlockingQueue<>();
            int port = serve(listening, (in, out, key) -> {
                // a message right behind the head, in the same packet
                say(out, welcome(key) + "\u0081\u0002hi\u0089\u0001p");
                for (int next = in.read(); next >= 0; next = in.read()) {
                    got.add(next);
                }
            });
            Ear ear = new Ear();
            Transport.Connection connection = new SocketTransport(300_000)
                    .connect(URI.create("ws://localhost:" + port), "odin.v1.json", Duration.ofSeconds(5), ear);
            assertEquals("open odin.v1.json", ear.next());
            assertEquals("text hi", ear.next());
            assertEquals("activity", ear.next());
            assertEquals(0x8A, got.take());
            assertEquals(0x81, got.take(), "masked, one byte");
            for (int rest = 0; rest < 5; rest++) {
                got.take();
            }
            assertTrue(connection.send("x"));
            assertEquals(0x81, got.take());
            for (int rest = 0; rest < 6; rest++) {
                got.take();
            }
            connection.close(1000);
            assertEquals(0x88, got.take());
            assertFalse(connection.send("y"));
        }
    }

    @Test
    void tellsHowAConnectionEnds() throws Exception {
        assertEquals("close 4403 no", outcome((in, out, key) -> say(out, welcome(key) + "\u0088\u0004\u0011\u0033no")));
        assertEquals("close 1005 ", outcome((in, out, key) -> say(out, welcome(key) + "\u0088\u0000")));
        assertEquals("failure 0 0 false EOFException", outcome((in, out, key) -> say(out, welcome(key))));
    }

    @Test
    void tellsWhyAHandshakeWasRefused() throws Exception {
        assertEquals("failure 503 7000 false handshake answered with status 503",
                outcome((in, out, key) -> say(out, "HTTP/1.1 503 No\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n")));
        assertEquals("failure 403 0 false handshake answered with status 403",
                outcome((in, out, key) -> say(out, "HTTP/1.1 403 No\r\nRetry-After: tomorrow\r\n\r\n")));
        assertTrue(outcome((in, out, key) -> { }).startsWith("failure 0 0 false"));
    }

    /** Checklist 5, from the other side: an answer that is none. */
    @Test
    void doesNotBelieveAnAnswerThatIsNone() throws Exception {
        for (Manners manners : new Manners[] {
            (in, out, key) -> say(out, "SSH-2.0-x\r\n\r\n"),
            (in, out, key) -> say(out, welcome("another key")),
            (in, out, key) -> say(out, welcome(key).replace("odin.v1.json", "odin.v0")),
            (in, out, key) -> say(out, welcome(key).replace("WebSocket", "h2c")),
            (in, out, key) -> say(out, welcome(key).replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n")),
            (in, out, key) -> say(out, "HTTP/1.1 101 " + "x".repeat(20_000)),
            (in, out, key) -> say(out, welcome(key) + "\u0082\u0001x"),
            (in, out, key) -> say(out, welcome(key) + "\u0081\u0001\u00ff"),
            (in, out, key) -> say(out, welcome(key) + "\u0081\u007f\u0000\u0000\u0000\u0001\u0000\u0000\u0000\u0000"),
        }) {
            String outcome = outcome(manners);
            assertTrue(outcome.startsWith("failure 0 0 true"), outcome);
        }
    }

    /** Checklist 2, from the other side: one byte after another, and never the end. */
    @Test
    void anAnswerThatDoesNotEndIsNotWaitedFor() throws Exception {
        String outcome = outcome((in, out, key) -> {
            while (true) {
                say(out, "x");
                Thread.sleep(20);
            }
        });
        assertEquals("failure 0 0 false SocketTimeoutException: Read timed out", outcome);
    }

    @Test
    void nobodyThereIsABrokenConnection() throws Exception {
        int port;
        try (ServerSocket gone = listen()) {
            port = gone.getLocalPort();
        }
        Ear ear = new Ear();
        new SocketTransport(300_000)
                .connect(URI.create("ws://127.0.0.1:" + port), "odin.v1.json", Duration.ofSeconds(5), ear);
        assertTrue(ear.next().startsWith("failure 0 0 false ConnectException"));
    }

    @Test
    void speaksTlsWithWhomeverItTrustsAndOnlyUnderTheRightName(@TempDir Path folder) throws Exception {
        Path store = folder.resolve("keys");
        Process keytool = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair", "-keyalg", "EC", "-dname", "CN=localhost", "-ext", "san=dns:localhost", "-validity", "2",
                "-keystore", store.toString(), "-storepass", "changeit", "-alias", "odin")
                .redirectErrorStream(true).start();
        keytool.getInputStream().readAllBytes();
        assertEquals(0, keytool.waitFor());
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(store)) {
            keys.load(in, PASSWORD);
        }
        KeyManagerFactory ours = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        ours.init(keys, PASSWORD);
        TrustManagerFactory trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        KeyStore certificates = KeyStore.getInstance("PKCS12");
        certificates.load(null, null);
        certificates.setCertificateEntry("odin", keys.getCertificate("odin"));
        trusted.init(certificates);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(ours.getKeyManagers(), trusted.getTrustManagers(), null);

        for (String host : new String[] {"localhost", "127.0.0.1", "localhost untrusted"}) {
            try (ServerSocket listening = context.getServerSocketFactory()
                    .createServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                URI url = URI.create("wss://" + host.split(" ")[0] + ":" + serve(listening,
                        (in, out, key) -> say(out, welcome(key) + "\u0081\u0002hi")));
                Ear ear = new Ear();
                SocketTransport transport = host.endsWith("untrusted") ? new SocketTransport(300_000)
                        : new SocketTransport(context.getSocketFactory(), 300_000);
                transport.connect(url, "odin.v1.json", Duration.ofSeconds(10), ear);
                String first = ear.next();
                assertTrue(first.startsWith(host.equals("localhost") ? "open" : "failure 0 0 false SSL"), first);
            }
        }
    }
}
