package dev.odin.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class InboxTest {
    private static final Runnable WORK = () -> { };
    private static final String HALF = "x".repeat(600_000);

    private static CountDownLatch later(Runnable work) {
        CountDownLatch done = new CountDownLatch(1);
        Thread thread = new Thread(() -> {
            work.run();
            done.countDown();
        });
        thread.setDaemon(true);
        thread.start();
        return done;
    }

    /** Checklist 32: an application that does not take what comes holds the connection back, and fills no memory. */
    @Test
    void whoBringsMoreThanThereIsRoomForWaits() throws InterruptedException {
        Inbox inbox = new Inbox();
        int connection = inbox.nextConnection();
        inbox.bring(new Inbox.Item(connection, HALF, WORK));
        CountDownLatch second = later(() -> inbox.bring(new Inbox.Item(connection, HALF, WORK)));
        assertFalse(second.await(100, TimeUnit.MILLISECONDS), "there is no room for both");
        assertNotNull(inbox.take(0));
        second.await();
        assertNotNull(inbox.take(0));
        assertNull(inbox.take(0));
    }

    @Test
    void theEndOfAConnectionFindsRoomAndComesLast() throws InterruptedException {
        Inbox inbox = new Inbox();
        int connection = inbox.nextConnection();
        Runnable end = () -> { };
        inbox.bring(new Inbox.Item(connection, "x".repeat(2_000_000), WORK));
        inbox.bring(new Inbox.Item(connection, null, end));
        assertEquals(WORK, inbox.take(0), "one message always has room");
        assertEquals(end, inbox.take(0));
    }

    @Test
    void whatAnEarlierConnectionBringsIsDroppedAndNobodyWaitsForIt() throws InterruptedException {
        Inbox inbox = new Inbox();
        int earlier = inbox.nextConnection();
        inbox.bring(new Inbox.Item(earlier, HALF, WORK));
        CountDownLatch waiting = later(() -> inbox.bring(new Inbox.Item(earlier, HALF, WORK)));
        assertFalse(waiting.await(100, TimeUnit.MILLISECONDS));
        inbox.nextConnection();
        waiting.await();
        inbox.bring(new Inbox.Item(earlier, "late", WORK));
        assertNull(inbox.take(0));
    }

    @Test
    void commandsAreBoundedTooAndGoFirst() throws InterruptedException {
        Inbox inbox = new Inbox();
        Runnable command = () -> { };
        inbox.bring(new Inbox.Item(inbox.nextConnection(), "x", WORK));
        for (int number = 0; number < 1_024; number++) {
            assertTrue(inbox.command(command));
        }
        CountDownLatch waiting = later(() -> inbox.command(command));
        assertFalse(waiting.await(100, TimeUnit.MILLISECONDS));
        assertEquals(command, inbox.take(0));
        waiting.await();
        inbox.close();
        assertFalse(inbox.command(command));
    }
}
