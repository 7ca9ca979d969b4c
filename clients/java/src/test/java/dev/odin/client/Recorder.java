package dev.odin.client;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Keeps what a client tells, so that a test can wait for it. */
final class Recorder implements EventListener {
    /** Longer than anything takes; reached only by failures. */
    private static final long LIMIT_SECONDS = 30;

    private final BlockingQueue<Event> waiting = new LinkedBlockingQueue<>();
    private final List<Event> all = new ArrayList<>();

    @Override
    public void onEvent(Event event) {
        synchronized (all) {
            all.add(event);
        }
        waiting.add(event);
    }

    /** The next event of a kind that is as wanted; others are passed over. */
    <E extends Event> E next(Class<E> kind, Predicate<E> wanted) throws InterruptedException {
        while (true) {
            Event event = waiting.poll(LIMIT_SECONDS, TimeUnit.SECONDS);
            if (event == null) {
                throw new AssertionError("no " + kind.getSimpleName() + " came; there were " + all());
            }
            if (kind.isInstance(event) && wanted.test(kind.cast(event))) {
                return kind.cast(event);
            }
        }
    }

    <E extends Event> E next(Class<E> kind) throws InterruptedException {
        return next(kind, any -> true);
    }

    /** Everything that was told so far. */
    List<Event> all() {
        synchronized (all) {
            return new ArrayList<>(all);
        }
    }

    /** Of everything that was told so far, what is of a kind. */
    <E extends Event> List<E> all(Class<E> kind) {
        return all().stream().filter(kind::isInstance).map(kind::cast).toList();
    }
}
