package dev.odin.client;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What waits for the client's thread: commands of the application, and what the connection brings. Both are bounded; who
 * brings more waits.
 */
final class Inbox {
    /** Commands that may wait. */
    private static final int MAX_COMMANDS = 1_024;
    /** Characters of messages that may wait; one message always may. */
    private static final long MAX_CHARACTERS = 1024 * 1024;
    private static final int MAX_MESSAGES = 4_096;

    /** Something of a connection; {@code text} is the message if it is one. */
    record Item(int connection, String text, Runnable work) {
        private long size() {
            return text == null ? 0 : text.length();
        }
    }

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition isFilled = lock.newCondition();
    private final Condition isEmptied = lock.newCondition();
    private final Deque<Runnable> commands = new ArrayDeque<>();
    private final Deque<Item> items = new ArrayDeque<>();
    private long characters;
    private int connection;
    private boolean isClosed;

    /** Adds a command, when there is room; false if nobody will take it any more. */
    boolean command(Runnable command) {
        lock.lock();
        try {
            while (commands.size() >= MAX_COMMANDS && !isClosed) {
                isEmptied.awaitUninterruptibly();
            }
            if (!isClosed) {
                commands.add(command);
                isFilled.signal();
            }
            return !isClosed;
        } finally {
            lock.unlock();
        }
    }

    /** Adds something of a connection, when there is room; what an earlier connection brings is dropped. */
    void bring(Item item) {
        lock.lock();
        try {
            while (isFull(item) && item.connection() == connection && !isClosed) {
                isEmptied.awaitUninterruptibly();
            }
            if (item.connection() == connection && !isClosed) {
                items.add(item);
                characters += item.size();
                isFilled.signal();
            }
        } finally {
            lock.unlock();
        }
    }

    /** The end of a connection always finds room: there is only one. */
    private boolean isFull(Item item) {
        boolean isOverfull = characters + item.size() > MAX_CHARACTERS || items.size() >= MAX_MESSAGES;
        return item.text() != null && !items.isEmpty() && isOverfull;
    }

    /** Another connection, or none, counts from now on; its number. */
    int nextConnection() {
        lock.lock();
        try {
            connection += 1;
            items.clear();
            characters = 0;
            isEmptied.signalAll();
            return connection;
        } finally {
            lock.unlock();
        }
    }

    /** The next work; {@code null} when none came for so long. */
    Runnable take(long millis) {
        lock.lock();
        try {
            long nanos = TimeUnit.MILLISECONDS.toNanos(millis);
            while (commands.isEmpty() && items.isEmpty() && nanos > 0) {
                nanos = isFilled.awaitNanos(nanos);
            }
            if (!commands.isEmpty()) {
                isEmptied.signalAll();
                return commands.remove();
            }
            Item item = items.poll();
            if (item == null) {
                return null;
            }
            characters -= item.size();
            isEmptied.signalAll();
            return item.work();
        } catch (InterruptedException interrupted) {
            // nobody but the client may end its thread
            return null;
        } finally {
            lock.unlock();
        }
    }

    /** Nothing is taken any more. */
    void close() {
        lock.lock();
        try {
            isClosed = true;
            commands.clear();
            items.clear();
            isEmptied.signalAll();
        } finally {
            lock.unlock();
        }
    }
}
