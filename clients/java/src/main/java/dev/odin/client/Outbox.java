package dev.odin.client;

import java.io.IOException;
import java.io.OutputStream;
import java.net.Socket;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Frames that wait to be written, and the thread that writes them: whoever sends never waits. Bounded in bytes. */
final class Outbox implements Runnable {
    /** Bytes that may wait; a gateway that takes none of them is not reading. */
    private static final int MAX_BYTES = 1024 * 1024;
    /** How long the other side may take to end the connection after our close frame. */
    private static final long GOODBYE_MS = 1_000;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final Deque<byte[]> frames = new ArrayDeque<>();
    private int bytes;
    /** Only the last ping needs an answer. */
    private byte[] pong;
    private Socket socket;
    private boolean isClosing;
    private boolean isOver;

    /** Begins to write. */
    void start(Socket socket) {
        lock.lock();
        try {
            this.socket = socket;
            if (!isOver) {
                Thread thread = new Thread(this, "odin-writer");
                thread.setDaemon(true);
                thread.start();
            }
        } finally {
            lock.unlock();
        }
    }

    /** Adds a frame; false if too much waits, or if nothing is written any more. */
    boolean put(byte[] frame) {
        lock.lock();
        try {
            boolean hasRoom = frames.isEmpty() || bytes + frame.length <= MAX_BYTES;
            if (isOver || isClosing || !hasRoom) {
                return false;
            }
            frames.add(frame);
            bytes += frame.length;
            changed.signal();
            return true;
        } finally {
            lock.unlock();
        }
    }

    void pong(byte[] frame) {
        lock.lock();
        try {
            pong = frame;
            changed.signal();
        } finally {
            lock.unlock();
        }
    }

    /** Adds the close frame, after which the connection ends; false if there is no connection to write to. */
    boolean last(byte[] frame) {
        lock.lock();
        try {
            if (isOver || isClosing || socket == null) {
                return isClosing;
            }
            frames.add(frame);
            isClosing = true;
            changed.signal();
            return true;
        } finally {
            lock.unlock();
        }
    }

    /** Writes nothing any more. */
    void end() {
        lock.lock();
        try {
            isOver = true;
            frames.clear();
            changed.signal();
        } finally {
            lock.unlock();
        }
    }

    @Override
    public void run() {
        try {
            OutputStream out = socket.getOutputStream();
            byte[] frame = next();
            while (frame != null) {
                out.write(frame);
                out.flush();
                frame = next();
            }
            awaitEnd();
        } catch (IOException broken) {
            // the reader sees that too, and says so
        } finally {
            close();
        }
    }

    /** The next frame; {@code null} when nothing follows. */
    private byte[] next() {
        lock.lock();
        try {
            while (frames.isEmpty() && pong == null && !isClosing && !isOver) {
                changed.awaitUninterruptibly();
            }
            if (isOver) {
                return null;
            }
            if (pong != null) {
                byte[] answer = pong;
                pong = null;
                return answer;
            }
            byte[] frame = frames.poll();
            bytes -= frame == null ? 0 : frame.length;
            return frame;
        } finally {
            lock.unlock();
        }
    }

    /** The other side ends the connection first, if it does so soon. */
    private void awaitEnd() {
        long nanos = TimeUnit.MILLISECONDS.toNanos(GOODBYE_MS);
        lock.lock();
        try {
            while (!isOver && nanos > 0) {
                nanos = changed.awaitNanos(nanos);
            }
        } catch (InterruptedException interrupted) {
            // nothing is left to wait for
        } finally {
            lock.unlock();
        }
    }

    private void close() {
        try {
            socket.close();
        } catch (IOException gone) {
            // that is what was wanted
        }
    }
}
