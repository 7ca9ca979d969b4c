package dev.odin.client;

import java.net.URI;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;

/**
 * odin over OkHttp, to be copied into an app that has it anyway: with its proxies, its certificates, its interceptors.
 *
 * <p>OkHttp answers pings and does not show them, so the client asks a quiet gateway by a message whether it is there.
 */
final class OkHttpTransport implements Transport {
    private final OkHttpClient http;

    /** {@code http} must not retry by itself what this client comes back from: a ping interval is of no use either. */
    OkHttpTransport(OkHttpClient http) {
        this.http = http;
    }

    @Override
    public Connection connect(URI url, String protocol, Duration timeout, Listener listener) {
        OkHttpClient timed = http.newBuilder().connectTimeout(timeout).readTimeout(timeout).build();
        Request request = new Request.Builder()
                .url(url.toString())
                .header("Sec-WebSocket-Protocol", protocol)
                .build();
        WebSocket socket = timed.newWebSocket(request, new Ear(listener));
        return new Connection() {
            @Override
            public boolean send(String text) {
                return socket.send(text);
            }

            @Override
            public void close(int code) {
                socket.close(code, null);
            }

            @Override
            public void abort() {
                socket.cancel();
            }
        };
    }

    /** Passes on what OkHttp's reading thread says: it waits in {@code onText} while the application is slow. */
    private static final class Ear extends WebSocketListener {
        private final Listener listener;
        private final AtomicBoolean isOver = new AtomicBoolean();

        private Ear(Listener listener) {
            this.listener = listener;
        }

        @Override
        public void onOpen(WebSocket socket, Response response) {
            String protocol = response.header("Sec-WebSocket-Protocol");
            listener.onOpen(protocol == null ? "" : protocol);
        }

        @Override
        public void onMessage(WebSocket socket, String text) {
            listener.onText(text);
        }

        @Override
        public void onClosing(WebSocket socket, int code, String reason) {
            // an answer that may be sent: a close frame without a code is 1005 here
            socket.close(code == 1005 ? 1000 : code, null);
            if (isOver.compareAndSet(false, true)) {
                listener.onClose(code, reason);
            }
        }

        @Override
        public void onFailure(WebSocket socket, Throwable failure, Response response) {
            if (!isOver.compareAndSet(false, true)) {
                return;
            }
            if (response != null && response.code() != 101) {
                listener.onFailure(Failure.refused(response.code(), response.header("Retry-After")));
            } else {
                listener.onFailure(Failure.broken(failure.getClass().getSimpleName()));
            }
        }
    }
}
