package dev.odin.client;

import java.io.BufferedInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * A WebSocket over a plain socket, or over TLS: on every Java, Android included.
 *
 * <p>Not {@code java.net.http.WebSocket}: that one loses the end of a connection which comes while no message is asked
 * for, and a killed gateway would then only be noticed by its silence.
 */
public final class SocketTransport implements Transport {
    private final SSLSocketFactory tls;
    private final int maxMessageBytes;

    /**
     * A transport that trusts what the platform trusts.
     *
     * @param maxMessageBytes largest message taken
     */
    public SocketTransport(int maxMessageBytes) {
        this((SSLSocketFactory) SSLSocketFactory.getDefault(), maxMessageBytes);
    }

    /**
     * A transport with TLS that has been set up.
     *
     * @param tls makes the sockets of {@code wss} addresses; the name of the gateway is checked in any case
     * @param maxMessageBytes largest message taken
     */
    public SocketTransport(SSLSocketFactory tls, int maxMessageBytes) {
        this.tls = tls;
        this.maxMessageBytes = maxMessageBytes;
    }

    @Override
    public Connection connect(URI url, String protocol, Duration timeout, Listener listener) {
        Wire wire = new Wire(url, protocol, timeout.toMillis(), listener);
        Thread thread = new Thread(wire, "odin-reader");
        thread.setDaemon(true);
        thread.start();
        return wire;
    }

    /** One connection, and the thread that reads from it. */
    private final class Wire implements Connection, Runnable {
        private final URI url;
        private final String protocol;
        private final long deadline;
        private final Listener listener;
        private final Outbox outbox = new Outbox();
        private volatile Socket socket;
        /** The client has let go of it, or has been told of its end. */
        private volatile boolean isOver;

        private Wire(URI url, String protocol, long timeoutMs, Listener listener) {
            this.url = url;
            this.protocol = protocol;
            this.listener = listener;
            deadline = Driver.now() + timeoutMs;
        }

        @Override
        public void run() {
            Failure failure;
            try {
                Frames frames = open();
                listener.onOpen(protocol);
                failure = listen(frames);
            } catch (Handshake.Refused refused) {
                failure = refused.failure();
            } catch (Frames.Violation violation) {
                failure = Failure.protocol(violation.getMessage());
            } catch (IOException | RuntimeException broken) {
                String message = broken.getMessage() == null ? "" : ": " + broken.getMessage();
                failure = Failure.broken(broken.getClass().getSimpleName() + message);
            }
            if (failure != null) {
                outbox.end();
                shut();
                if (!isOver) {
                    isOver = true;
                    listener.onFailure(failure);
                }
            }
        }

        private Frames open() throws IOException {
            boolean isSecure = url.getScheme().equals("wss");
            String host = url.getHost().replaceAll("^\\[|\\]$", "");
            int port = url.getPort() > 0 ? url.getPort() : isSecure ? 443 : 80;
            socket = dial(host, port);
            if (isOver) {
                throw new IOException("given up");
            }
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(left());
            if (isSecure) {
                SSLSocket secured = (SSLSocket) tls.createSocket(socket, host, port, true);
                SSLParameters parameters = secured.getSSLParameters();
                // without this a certificate of anybody would do
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                secured.setSSLParameters(parameters);
                secured.startHandshake();
                socket = secured;
            }
            InputStream in = new BufferedInputStream(new Timed(socket));
            new Handshake(url, protocol).shake(in, socket.getOutputStream());
            socket.setSoTimeout(0);
            outbox.start(socket);
            return new Frames(in, maxMessageBytes);
        }

        /** The first address of the name that takes the connection. */
        private Socket dial(String host, int port) throws IOException {
            IOException last = new IOException("no address");
            for (InetAddress address : InetAddress.getAllByName(host)) {
                Socket attempt = new Socket();
                try {
                    attempt.connect(new InetSocketAddress(address, port), left());
                    return attempt;
                } catch (IOException refused) {
                    attempt.close();
                    last = refused;
                }
            }
            throw last;
        }

        /** What is left of the time to connect; more than nothing, which would mean for ever. */
        private int left() {
            return (int) Math.max(1, Math.min(Integer.MAX_VALUE, deadline - Driver.now()));
        }

        /** Hands over what comes until the end; the failure, or {@code null} if there was a close frame. */
        private Failure listen(Frames frames) throws IOException {
            while (true) {
                Frames.Frame frame = frames.read();
                switch (frame.opcode()) {
                    case Frames.TEXT:
                        listener.onText(Frames.text(frame.payload(), 0));
                        break;
                    case Frames.BINARY:
                        return Failure.protocol("frame of the other sub-protocol");
                    case Frames.PING:
                        outbox.pong(Frames.write(Frames.PONG, frame.payload()));
                        listener.onActivity();
                        break;
                    case Frames.CLOSE:
                        closed(frame.payload());
                        return null;
                    default:
                        listener.onActivity();
                }
            }
        }

        private void closed(byte[] payload) throws Frames.Violation {
            int code = Frames.codeOf(payload);
            String reason = payload.length > 2 ? Frames.text(payload, 2) : "";
            // the answer to a close frame has its code
            byte[] answer = code == Frames.NO_CODE ? new byte[0] : Frames.closing(code);
            outbox.last(Frames.write(Frames.CLOSE, answer));
            if (!isOver) {
                isOver = true;
                listener.onClose(code, reason);
            }
        }

        @Override
        public boolean send(String text) {
            byte[] payload = text.getBytes(StandardCharsets.UTF_8);
            return !isOver && outbox.put(Frames.write(Frames.TEXT, payload));
        }

        @Override
        public void close(int code) {
            isOver = true;
            if (!outbox.last(Frames.write(Frames.CLOSE, Frames.closing(code)))) {
                shut();
            }
        }

        @Override
        public void abort() {
            isOver = true;
            outbox.end();
            shut();
        }

        private void shut() {
            Socket open = socket;
            try {
                if (open != null) {
                    open.close();
                }
            } catch (IOException gone) {
                // that is what was wanted
            }
        }

        /** Reads no longer than the time to connect allows, however slowly the bytes come. */
        private final class Timed extends FilterInputStream {
            private final Socket read;

            private Timed(Socket read) throws IOException {
                super(read.getInputStream());
                this.read = read;
            }

            @Override
            public int read(byte[] into, int from, int length) throws IOException {
                if (read.getSoTimeout() != 0) {
                    read.setSoTimeout(left());
                }
                return super.read(into, from, length);
            }
        }
    }
}
