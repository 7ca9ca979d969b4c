package dev.odin.client;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * Where tokens come from: asked every time one is needed, for each connection and for each refresh. The client sends a
 * token in one {@code auth} message and forgets it.
 */
@FunctionalInterface
public interface TokenSource {
    /**
     * A fresh token. Called on the client's own thread, so it must return at once; what takes time completes the stage
     * later. An exception, or no answer within {@link ClientOptions#tokenTimeout()}, means that there is none; the class
     * of the exception, not its message, reaches events.
     *
     * @return the token
     */
    CompletionStage<String> token();

    /**
     * A source that may block: each call runs on a thread of its own.
     *
     * @param ask gives a token or throws
     * @return the source
     */
    static TokenSource blocking(Callable<String> ask) {
        return () -> {
            CompletableFuture<String> answer = new CompletableFuture<>();
            Thread thread = new Thread(() -> {
                try {
                    answer.complete(ask.call());
                } catch (Throwable failed) {
                    answer.completeExceptionally(failed);
                }
            }, "odin-token");
            thread.setDaemon(true);
            thread.start();
            return answer;
        };
    }
}
