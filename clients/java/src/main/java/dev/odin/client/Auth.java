package dev.odin.client;

import dev.odin.client.protocol.MessageWriter;
import dev.odin.client.protocol.RequestId;
import dev.odin.client.protocol.ServerMessage;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Random;

/**
 * Signing in, and staying signed in: which token goes out when, and what the answer means. Times in milliseconds.
 *
 * <p>It says that it wants a token and is given one; it asks nobody, and keeps none that it has sent, only a fingerprint
 * to know it again. Until the gateway has accepted a token, nothing else is asked for.
 */
final class Auth {
    /** A token with less to live was accepted all the same: the clocks disagree, and only the gateway knows. */
    private static final long MIN_LIFE_MS = 1_000;
    private static final long MAX_LIFE_MS = 30L * 24 * 3_600_000;
    /** Least time between two questions to the source, however often a gateway says that the token expires. */
    private static final long PACE_MS = 1_000;
    /** The first token that is not valid may be one that was replaced a moment ago; so many in a row are not. */
    private static final int MAX_REFUSALS = 2;
    private static final long NEVER = Long.MAX_VALUE;

    /** What is under way. */
    private enum Step {
        IDLE,
        /** The source is to be asked, or is being asked. */
        WANTED,
        /** A token is to be sent. */
        READY,
        SENT,
        /** The source is to be asked at {@link Auth#at}. */
        LATER
    }

    /** What follows a setback. */
    enum Then {
        ASK_ANEW,
        RETRY,
        /** Nothing more: the token in force will have expired. */
        EXPIRE,
        /** The connection is of no use. */
        LEAVE
    }

    /** A try that came to nothing; {@code waitMs} for {@link Then#RETRY}. */
    record Setback(AuthFailure why, Then then, long waitMs) {
    }

    private final boolean hasSource;
    private final long limitMs;
    private final Backoff backoff;
    private final byte[] salt = new byte[16];

    private Step step;
    /** Only in {@link Step#READY}. */
    private String token;
    /** The moment of {@link Step#LATER}, the latest answer of {@link Step#SENT}. */
    private long at;
    private long sentId;
    private byte[] sentPrint;

    private boolean isSignedIn;
    private byte[] printInForce;
    private long refreshAt = NEVER;
    private long expires = NEVER;

    /** Tokens in a row that were not valid, on this connection and those before. */
    private int refusals;
    private byte[] refusedPrint;
    private AuthFailure refused;
    private boolean wasAsked;
    private long asked;

    Auth(boolean hasSource, long limitMs, Backoff backoff) {
        this.hasSource = hasSource;
        this.limitMs = limitMs;
        this.backoff = backoff;
        step = hasSource ? Step.WANTED : Step.IDLE;
        new SecureRandom().nextBytes(salt);
    }

    /** Whether anything else may be asked for. */
    boolean isOpen() {
        return !hasSource || isSignedIn;
    }

    boolean isSignedIn() {
        return isSignedIn;
    }

    /** Whether the source is to be asked, and {@link #given} or {@link #none} to be told. */
    boolean wantsToken() {
        return step == Step.WANTED;
    }

    /** The source gave a token; the setback, if it is one. */
    Setback given(long now, String text, Random random) {
        if (!wantsToken()) {
            return null;
        }
        byte[] print = print(text);
        if (isSignedIn && Arrays.equals(print, printInForce)) {
            // nothing is wrong: the next one is not there yet
            postpone(now, 0, random);
            return null;
        }
        if (Arrays.equals(print, refusedPrint)) {
            refusedPrint = null;
            return new Setback(refused, Then.LEAVE, 0);
        }
        token = text;
        step = Step.READY;
        return null;
    }

    /** The source gave none; {@code cause} must not hold a secret. */
    Setback none(long now, String cause, Random random) {
        AuthFailure why = new AuthFailure(AuthFailure.Kind.NO_TOKEN, null, "no token: " + cause, 0);
        return wantsToken() ? fail(now, why, random) : null;
    }

    boolean hasMessage() {
        return step == Step.READY;
    }

    /** The token that waits to be sent, under this id. */
    String message(long now, long id) {
        String message = MessageWriter.auth(new RequestId(id, null), token);
        sentPrint = print(token);
        token = null;
        sentId = id;
        at = now + limitMs;
        step = Step.SENT;
        return message;
    }

    /**
     * {@code authenticated}.
     *
     * @param left life of the token in milliseconds; {@code null}: for ever
     * @return whether the connection was signed in before; {@code null} if nobody asked for that
     */
    Boolean accepted(long now, RequestId id, Long left, Random random) {
        if (step != Step.SENT || id == null || !id.is(sentId)) {
            return null;
        }
        boolean isRefresh = isSignedIn;
        isSignedIn = true;
        printInForce = sentPrint;
        refreshAt = NEVER;
        expires = NEVER;
        if (left != null && left >= MIN_LIFE_MS) {
            long life = Math.min(left, MAX_LIFE_MS);
            // a fleet that signed in together must not come back to its source together
            refreshAt = now + life / 2 + Backoff.uniform(random, life / 4);
            expires = now + life;
        }
        step = Step.IDLE;
        backoff.reset();
        refusals = 0;
        refusedPrint = null;
        return isRefresh;
    }

    /** Whether an {@code error} under this id is about the token. */
    boolean isAbout(RequestId id) {
        return step == Step.SENT && id != null && id.is(sentId);
    }

    /** The {@code error} about the token. */
    Setback refused(long now, ServerMessage.Error error, Random random) {
        long wait = Backoff.asked(error.retryAfterMs());
        AuthFailure why = new AuthFailure(AuthFailure.Kind.REFUSED, error.code(), Text.printable(error.message()), wait);
        if (!isSignedIn && !error.code().mayRetry()) {
            refusals += 1;
            refusedPrint = sentPrint;
            refused = why;
        }
        return fail(now, why, random);
    }

    private Setback fail(long now, AuthFailure why, Random random) {
        if (why.isFinal()) {
            return new Setback(why, Then.LEAVE, 0);
        }
        if (isSignedIn || why.mayRetry()) {
            return postpone(now, why.retryAfterMs(), random)
                    ? new Setback(why, Then.RETRY, at - now) : new Setback(why, Then.EXPIRE, 0);
        }
        if (why.kind() == AuthFailure.Kind.REFUSED && refusals < MAX_REFUSALS) {
            step = Step.WANTED;
            return new Setback(why, Then.ASK_ANEW, 0);
        }
        return new Setback(why, Then.LEAVE, 0);
    }

    /** The source is to be asked again; false if the token in force will have expired by then. */
    private boolean postpone(long now, long atLeastMs, Random random) {
        at = now + atLeastMs + backoff.draw(random);
        if (isSignedIn && at >= expires) {
            refreshAt = NEVER;
            step = Step.IDLE;
            return false;
        }
        step = Step.LATER;
        return true;
    }

    /** {@code token_expiring}: the source is to be asked at once. */
    void expiring(long now, Long left) {
        if (!isSignedIn) {
            return;
        }
        if (left != null) {
            expires = now + Math.min(left, MAX_LIFE_MS);
        }
        long soonest = wasAsked ? Math.max(now, asked + PACE_MS) : now;
        if (step == Step.IDLE) {
            at = soonest;
            step = Step.LATER;
        } else if (step == Step.LATER) {
            at = Math.min(at, soonest);
        }
    }

    /** When {@link #tick} has something to do. */
    long deadline() {
        switch (step) {
            case IDLE:
                return isSignedIn ? refreshAt : NEVER;
            case LATER:
            case SENT:
                return at;
            default:
                return NEVER;
        }
    }

    /** Time has passed. */
    Setback tick(long now, Random random) {
        boolean isWaiting = step == Step.IDLE || step == Step.LATER;
        if (isWaiting && now >= deadline()) {
            refreshAt = NEVER;
            step = Step.WANTED;
            wasAsked = true;
            asked = now;
        }
        if (step == Step.SENT && now >= at) {
            String message = "no answer to the token within " + limitMs + " ms";
            return fail(now, new AuthFailure(AuthFailure.Kind.UNANSWERED, null, message, 0), random);
        }
        return null;
    }

    /** Nothing was read for some time: an answer may lie there unread. */
    void waitAnew(long now) {
        if (step == Step.SENT) {
            at = now + limitMs;
        }
    }

    /** The gateway closed because of the token: whether to come back with another one. */
    boolean unauthorized() {
        boolean wasCounted = refusedPrint != null && step != Step.SENT;
        refusals += wasCounted ? 0 : 1;
        return hasSource && refusals < MAX_REFUSALS;
    }

    /** There is no connection any more: the next one begins with a token of its own. */
    void away() {
        step = hasSource ? Step.WANTED : Step.IDLE;
        token = null;
        backoff.reset();
        isSignedIn = false;
        printInForce = null;
        refusedPrint = null;
        wasAsked = false;
    }

    private byte[] print(String text) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(salt);
            return digest.digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-256", impossible);
        }
    }
}
