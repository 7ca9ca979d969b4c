package dev.odin.client;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** The WebSocket of the JDK ({@code java.net.http}). Not on Android, which has no such package. */
public final class JdkTransport implements Transport {
    /** Characters that may wait to be sent; a gateway that takes none of them is not reading. */
    private static final int MAX_UNSENT = 1024 * 1024;
    /** How long to wait for the other side's close frame. */
    private static final long CLOSE_TIMEOUT_MS = 1_000;

    private final HttpClient http;
    private final int maxMessageBytes;

    /**
     * A transport with a client of its own.
     *
     * @param maxMessageBytes largest message taken
     */
    public JdkTransport(int maxMessageBytes) {
        this(HttpClient.newHttpClient(), maxMessageBytes);
    }

    /**
     * A transport over a client that has been set up: with certificates to trust, or a proxy.
     *
     * @param http makes the connections
     * @param maxMessageBytes largest message taken
     */
    public JdkTransport(HttpClient http, int maxMessageBytes) {
        this.http = http;
        this.maxMessageBytes = maxMessageBytes;
    }

    @Override
    public Connection connect(URI url, String protocol, Duration timeout, Listener listener) {
        Socket socket = new Socket(listener);
        http.newWebSocketBuilder()
                .connectTimeout(timeout)
                .subprotocols(protocol)
                .buildAsync(url, socket)
                .whenComplete((open, failure) -> {
                    if (failure != null) {
                        socket.fail(describe(failure));
                    }
                });
        return socket;
    }

    private static Failure describe(Throwable failure) {
        Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
        if (cause instanceof WebSocketHandshakeException) {
            HttpResponse<?> answer = ((WebSocketHandshakeException) cause).getResponse();
            if (answer != null && answer.statusCode() != 101) {
                return Failure.refused(answer.statusCode(), answer.headers().firstValue("Retry-After").orElse(null));
            }
            return Failure.protocol("answer is not an upgrade to websocket");
        }
        String message = cause.getMessage() == null ? "" : ": " + cause.getMessage();
        return Failure.broken(cause.getClass().getSimpleName() + message);
    }

    /** One connection. The JDK calls a listener from one thread at a time. */
    private final class Socket implements Connection, WebSocket.Listener {
        private final Listener listener;
        private final AtomicBoolean isOver = new AtomicBoolean();
        private final StringBuilder partial = new StringBuilder();
        /** Ends when everything sent before has been handed over: the JDK takes one message at a time. */
        private CompletableFuture<WebSocket> sent = new CompletableFuture<>();
        private WebSocket open;
        private int unsent;

        private Socket(Listener listener) {
            this.listener = listener;
        }

        private void fail(Failure failure) {
            if (isOver.compareAndSet(false, true)) {
                listener.onFailure(failure);
            }
        }

        @Override
        public void onOpen(WebSocket socket) {
            synchronized (this) {
                open = socket;
                sent.complete(socket);
            }
            if (isOver.get()) {
                socket.abort();
                return;
            }
            listener.onOpen(socket.getSubprotocol());
            socket.request(1);
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
            if (partial.length() + part.length() > maxMessageBytes) {
                fail(Failure.protocol("message too big"));
                socket.abort();
                return null;
            }
            partial.append(part);
            if (isLast) {
                String text = partial.toString();
                partial.setLength(0);
                listener.onText(text);
            } else {
                listener.onActivity();
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean isLast) {
            fail(Failure.protocol("frame of the other sub-protocol"));
            socket.abort();
            return null;
        }

        @Override
        public CompletionStage<?> onPing(WebSocket socket, ByteBuffer payload) {
            listener.onActivity();
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer payload) {
            listener.onActivity();
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            if (isOver.compareAndSet(false, true)) {
                listener.onClose(code, reason);
            }
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable failure) {
            fail(describe(failure));
        }

        @Override
        public synchronized boolean send(String text) {
            if (open == null || isOver.get() || unsent > MAX_UNSENT) {
                return false;
            }
            unsent += text.length();
            sent = sent.thenCompose(socket -> socket.sendText(text, true));
            sent.whenComplete((socket, failure) -> {
                synchronized (this) {
                    unsent -= text.length();
                }
            });
            return true;
        }

        @Override
        public void close(int code) {
            WebSocket socket;
            synchronized (this) {
                socket = open;
                if (socket == null) {
                    // not open yet: onOpen sees that it is over
                    isOver.set(true);
                    return;
                }
                sent = sent.thenCompose(ready -> ready.sendClose(code, ""));
            }
            CompletableFuture.delayedExecutor(CLOSE_TIMEOUT_MS, TimeUnit.MILLISECONDS).execute(socket::abort);
        }

        @Override
        public synchronized void abort() {
            isOver.set(true);
            if (open != null) {
                open.abort();
            }
        }
    }
}
