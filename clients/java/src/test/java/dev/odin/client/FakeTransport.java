package dev.odin.client;

import java.net.URI;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A wire that a test holds. */
final class FakeTransport implements Transport {
    private final BlockingQueue<Wire> wires = new LinkedBlockingQueue<>();

    /** One connection: what the client sends, and the ear to speak into. */
    static final class Wire implements Connection {
        final Listener listener;
        final BlockingQueue<String> sent = new LinkedBlockingQueue<>();

        private Wire(Listener listener) {
            this.listener = listener;
        }

        /** What the client says next. */
        String said() throws InterruptedException {
            String said = sent.poll(30, TimeUnit.SECONDS);
            if (said == null) {
                throw new AssertionError("the client said nothing");
            }
            return said;
        }

        @Override
        public boolean send(String text) {
            return sent.add(text);
        }

        @Override
        public void close(int code) {
            sent.add("close " + code);
        }

        @Override
        public void abort() {
            sent.add("abort");
        }
    }

    @Override
    public Connection connect(URI url, String protocol, Duration timeout, Listener listener) {
        Wire wire = new Wire(listener);
        wires.add(wire);
        return wire;
    }

    /** The next connection, before hello. */
    Wire next() throws InterruptedException {
        Wire wire = wires.poll(30, TimeUnit.SECONDS);
        if (wire == null) {
            throw new AssertionError("no connection was made");
        }
        return wire;
    }

    /** The next connection, after hello with this heartbeat. */
    Wire greet(int heartbeatMs) throws InterruptedException {
        Wire wire = next();
        wire.listener.onOpen(Driver.PROTOCOL);
        wire.listener.onText(Bench.HELLO.replace("25000", "" + heartbeatMs));
        return wire;
    }
}
