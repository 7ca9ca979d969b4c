package dev.odin.client;

import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;

/** Asks the source for one token at a time, and knows an answer that comes too late. Used by the client's thread alone. */
final class TokenDesk {
    /** Longest token taken, in characters. A larger one would come near to what a gateway reads at most. */
    static final int MAX_TOKEN = 16 * 1_024;
    private static final long NEVER = Long.MAX_VALUE;

    /** Told of an answer, from any thread: a token, or why there is none. */
    interface Answer {
        void answer(int number, String token, String cause);
    }

    private final TokenSource source;
    private final long limitMs;
    private int number;
    private boolean isAsking;
    private long answerBy;

    TokenDesk(TokenSource source, long limitMs) {
        this.source = source;
        this.limitMs = limitMs;
    }

    /** Asks, unless that is under way. */
    void ask(long now, Answer to) {
        if (isAsking) {
            return;
        }
        isAsking = true;
        answerBy = now + limitMs;
        number += 1;
        int asked = number;
        CompletionStage<String> answer;
        try {
            answer = source.token();
        } catch (RuntimeException failed) {
            to.answer(asked, null, failed.getClass().getSimpleName());
            return;
        }
        answer.whenComplete((token, failure) -> {
            if (failure != null) {
                // its message may hold a secret
                boolean isWrapped = failure instanceof CompletionException && failure.getCause() != null;
                Throwable cause = isWrapped ? failure.getCause() : failure;
                to.answer(asked, null, cause.getClass().getSimpleName());
                return;
            }
            String text = token == null ? "" : token.trim();
            String fault = fault(text);
            to.answer(asked, fault == null ? text : null, fault);
        });
    }

    /** What is wrong with a token; {@code null} if nothing is. */
    private static String fault(String token) {
        if (token.isEmpty()) {
            return "the token is empty";
        }
        if (token.length() > MAX_TOKEN) {
            return "the token has more than " + MAX_TOKEN + " characters";
        }
        boolean isGraphic = token.chars().allMatch(unit -> unit > ' ' && unit < 0x7f);
        return isGraphic ? null : "the token has a character that no token has";
    }

    /** Whether an answer is the one that is waited for; it is not any more then. */
    boolean take(int answered) {
        boolean isOurs = isAsking && answered == number;
        isAsking &= !isOurs;
        return isOurs;
    }

    /** No answer is waited for. */
    void forget() {
        isAsking = false;
    }

    boolean isLate(long now) {
        return isAsking && now >= answerBy;
    }

    long deadline() {
        return isAsking ? answerBy : NEVER;
    }
}
