package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.MessageReader;
import dev.odin.client.protocol.ProtocolException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * The thread behind a client: it carries out what the {@link Session} decides, and calls the listeners.
 *
 * <p>One turn is one command, one thing of the connection, or one moment that has come; then what is due, what is to be
 * sent, and what is to be told.
 */
final class Driver implements Runnable {
    /** The only sub-protocol of this client. */
    static final String PROTOCOL = "odin.v1.json";

    private static final Logger LOG = Logger.getLogger(Driver.class.getName());
    private static final long NEVER = Long.MAX_VALUE;
    /** Longest sleep when nothing is due; anything that happens ends it earlier. */
    private static final long LONG_MS = 3_600_000;
    /** Listeners that took longer have kept the connection from being heard. */
    private static final long SLOW_MS = 50;

    private enum Phase {
        /** Between two tries. */
        PAUSE,
        /** Until something is subscribed. */
        SLEEP,
        /** Waiting for a token to connect with. */
        ASK,
        /** Connecting, or connected. */
        TALK,
        ENDED
    }

    private final ClientOptions options;
    private final Session session;
    private final Handlers handlers;
    private final Inbox inbox = new Inbox();
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Thread thread;
    private volatile State state = State.CONNECTING;

    private Phase phase = Phase.PAUSE;
    /** End of {@link Phase#PAUSE}. */
    private long until;
    private Wire wire;
    private Transport.Connection connection;
    /** Latest moment for the gateway's hello. */
    private long greetBy;
    private final TokenDesk tokens;

    Driver(ClientOptions options, Session session, Handlers handlers) {
        this.options = options;
        this.session = session;
        this.handlers = handlers;
        tokens = new TokenDesk(options.tokens(), options.tokenTimeout().toMillis());
        until = now();
        thread = new Thread(this, "odin-client");
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    State state() {
        return state;
    }

    /** Monotonic, in milliseconds. */
    static long now() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime());
    }

    /** Does something on the client's thread: at once if this is it. False if the client has ended. */
    boolean command(Runnable command) {
        if (Thread.currentThread() == thread) {
            command.run();
            return phase != Phase.ENDED;
        }
        return inbox.command(command);
    }

    /** Says goodbye and ends; waits for that, but not on the client's own thread. */
    void close(long limitMs) {
        command(() -> part(Parting.of(Parting.Kind.ASKED, "closed")));
        if (Thread.currentThread() == thread) {
            return;
        }
        try {
            ended.await(limitMs, TimeUnit.MILLISECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void run() {
        try {
            while (phase != Phase.ENDED) {
                Runnable work = inbox.take(Math.max(0, Math.min(LONG_MS, deadline() - now())));
                if (work != null) {
                    work.run();
                }
                step();
                while (tell()) {
                    // a listener may have asked for something
                    step();
                }
            }
        } catch (RuntimeException | Error fault) {
            LOG.log(Level.SEVERE, "the client failed", fault);
            if (connection != null) {
                connection.abort();
            }
            session.publishes.end();
            handlers.tell(new Event.Closed(Parting.of(Parting.Kind.BROKEN, "internal error")));
        } finally {
            state = State.CLOSED;
            inbox.close();
            ended.countDown();
        }
    }

    private long deadline() {
        switch (phase) {
            case PAUSE:
                return until;
            case ASK:
                return tokens.deadline();
            case TALK:
                return Math.min(tokens.deadline(), session.isLive() ? session.deadline() : greetBy);
            default:
                return NEVER;
        }
    }

    /** Does what is due. */
    private void step() {
        long now = now();
        if (tokens.isLate(now)) {
            noToken("no answer of its source in time");
        }
        switch (phase) {
            case PAUSE:
                if (now >= until) {
                    meet();
                }
                break;
            case SLEEP:
                if (session.isWanting()) {
                    meet();
                }
                break;
            case TALK:
                talk(now);
                break;
            default:
                break;
        }
    }

    private void talk(long now) {
        session.heard(wire.activity);
        if (!session.isLive()) {
            if (now >= greetBy) {
                part(Parting.of(Parting.Kind.TIMEOUT, "no answer within " + options.connectTimeout().toMillis() + " ms"));
            }
            return;
        }
        Parting why = session.tick(now);
        if (why != null) {
            part(why);
            return;
        }
        if (session.wantsToken()) {
            ask();
        }
        String message = session.outgoing(now);
        while (phase == Phase.TALK && message != null) {
            if (!connection.send(message)) {
                part(Parting.of(Parting.Kind.NOT_READING, "gateway does not read"));
                return;
            }
            message = session.outgoing(now);
        }
    }

    /** A token, if one is needed, and then a connection: a gateway does not wait long for either. */
    private void meet() {
        if (session.wantsToken()) {
            phase = Phase.ASK;
            ask();
        } else {
            dial();
        }
    }

    private void ask() {
        tokens.ask(now(), (number, token, cause) -> command(() -> {
            if (tokens.take(number)) {
                if (token == null) {
                    noToken(cause);
                } else {
                    haveToken(session.token(now(), token));
                }
            }
        }));
    }

    private void noToken(String cause) {
        tokens.forget();
        haveToken(session.noToken(now(), cause));
    }

    private void haveToken(Parting why) {
        if (why != null) {
            part(why);
        } else if (phase == Phase.ASK) {
            dial();
        }
    }

    private void dial() {
        phase = Phase.TALK;
        greetBy = now() + options.connectTimeout().toMillis();
        wire = new Wire(inbox.nextConnection());
        connection = options.transport().connect(session.url(), PROTOCOL, options.connectTimeout(), wire);
    }

    private void part(Parting why) {
        if (phase == Phase.ENDED) {
            return;
        }
        inbox.nextConnection();
        tokens.forget();
        if (connection != null) {
            leave(why);
            connection = null;
        }
        Plan plan = session.parted(now(), why);
        switch (plan.kind()) {
            case DIAL:
                phase = Phase.PAUSE;
                until = now() + plan.afterMs();
                break;
            case SLEEP:
                phase = Phase.SLEEP;
                break;
            default:
                phase = Phase.ENDED;
        }
    }

    private void leave(Parting why) {
        switch (why.kind()) {
            case ASKED:
            case NOT_SIGNED_IN:
                connection.close(1000);
                break;
            case DRAINED:
            case SILENT:
                connection.close(1001);
                break;
            case CLOSED:
                break;
            default:
                connection.abort();
        }
    }

    /** Tells the listeners what has happened; whether there was anything. */
    private boolean tell() {
        state = currentState();
        long begin = now();
        Event event = session.nextEvent();
        boolean isAny = event != null;
        while (event != null) {
            if (event instanceof Event.Unsubscribed gone && !session.isWanted(gone.channel())) {
                handlers.end(Channel.parse(gone.channel()));
            }
            handlers.tell(event);
            event = session.nextEvent();
        }
        state = currentState();
        long now = now();
        if (now - begin > SLOW_MS) {
            session.listensAgain(now);
        }
        return isAny;
    }

    private State currentState() {
        switch (phase) {
            case PAUSE:
                return State.WAITING;
            case SLEEP:
                return State.IDLE;
            case ENDED:
                return State.CLOSED;
            default:
                if (!session.isLive()) {
                    return State.CONNECTING;
                }
                return session.auth.isOpen() ? State.LIVE : State.SIGNING_IN;
        }
    }

    /** The ear of one connection: everything it hears is done on the client's thread. */
    private final class Wire implements Transport.Listener {
        private final int number;
        private volatile long activity = Long.MIN_VALUE;

        private Wire(int number) {
            this.number = number;
        }

        private void bring(Runnable work) {
            inbox.bring(new Inbox.Item(number, null, work));
        }

        @Override
        public void onOpen(String protocol) {
            bring(() -> {
                if (PROTOCOL.equals(protocol)) {
                    session.opened();
                } else {
                    part(Parting.of(Parting.Kind.PROTOCOL, "answer names another sub-protocol"));
                }
            });
        }

        @Override
        public void onText(String text) {
            inbox.bring(new Inbox.Item(number, text, () -> hear(text)));
        }

        private void hear(String text) {
            long now = now();
            session.heard(now);
            try {
                Parting why = session.receive(now, System.currentTimeMillis(), MessageReader.read(text));
                if (why != null) {
                    part(why);
                }
            } catch (ProtocolException unreadable) {
                part(Parting.of(Parting.Kind.PROTOCOL, "not an odin gateway: " + unreadable.getMessage()));
            }
        }

        @Override
        public void onActivity() {
            activity = now();
        }

        @Override
        public void onClose(int code, String reason) {
            bring(() -> part(Parting.closed(code, reason)));
        }

        @Override
        public void onFailure(Transport.Failure failure) {
            bring(() -> {
                if (failure.status() != 0) {
                    part(Parting.status(failure.status(), failure.retryAfterMs()));
                } else {
                    Parting.Kind kind = failure.isProtocol() ? Parting.Kind.PROTOCOL : Parting.Kind.BROKEN;
                    part(Parting.of(kind, Text.printable(failure.cause())));
                }
            });
        }
    }
}
