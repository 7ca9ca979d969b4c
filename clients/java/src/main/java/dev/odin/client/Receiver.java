package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.ServerMessage;
import dev.odin.client.protocol.SystemState;
import dev.odin.client.protocol.Update;
import java.util.List;

/** What each message of the gateway means to the {@link Session}. */
final class Receiver {
    private final Session session;

    Receiver(Session session) {
        this.session = session;
    }

    Parting receive(long now, long wall, ServerMessage message) {
        if (message instanceof Update update) {
            update(update);
        } else if (message instanceof ServerMessage.Status status) {
            session.greeted(now, status);
        } else if (message instanceof ServerMessage.Subscribed subscribed) {
            subscribed(subscribed);
        } else if (message instanceof ServerMessage.Unsubscribed unsubscribed) {
            unsubscribed(unsubscribed);
        } else if (message instanceof ServerMessage.Gap gap) {
            gap(gap);
        } else if (message instanceof ServerMessage.Checkpoint checkpoint) {
            if (session.cursors.checkpoint(checkpoint.cursor())) {
                session.events.add(new Event.Checkpoint(checkpoint.cursor()));
            }
        } else if (message instanceof ServerMessage.Stale stale) {
            if (concerns(stale.channel())) {
                session.events.add(new Event.Stale(stale.channel(), stale.reason(), stale.since()));
            }
        } else if (message instanceof ServerMessage.Live live) {
            if (concerns(live.channel())) {
                session.events.add(new Event.Live(live.channel()));
            }
        } else if (message instanceof ServerMessage.SystemStatus status) {
            system(now, status);
        } else if (message instanceof ServerMessage.Authenticated authenticated) {
            Long left = authenticated.expiresAt() == null ? null : Math.max(0, authenticated.expiresAt() - wall);
            Boolean isRefresh = session.auth.accepted(now, authenticated.id(), left, session.random);
            if (isRefresh != null) {
                session.events.add(
                        new Event.Authenticated(authenticated.sub(), authenticated.expiresAt(), isRefresh));
            }
        } else if (message instanceof ServerMessage.Pong pong) {
            if (session.isLive() && pong.id() != null && pong.id().number() != null) {
                session.link.answered(pong.id().number());
            }
        } else if (message instanceof ServerMessage.Published published) {
            session.publishes.published(published);
        } else if (message instanceof ServerMessage.Error error) {
            return refused(now, error);
        }
        return null;
    }

    private void update(Update update) {
        CursorMap.Judgement judgement = session.cursors.update(update);
        switch (judgement.kind()) {
            case OVERLAP:
            case STRAY:
                return;
            case REPEATED:
                session.events.add(new Event.Repeated(update.channel(), update.key(), update.seq()));
                return;
            case MISSING:
                session.events.add(new Event.Gap(update.channel(), update.key(), judgement.after(), judgement.until(),
                        null));
                break;
            default:
                break;
        }
        session.events.add(new Event.Updated(update));
    }

    private void gap(ServerMessage.Gap gap) {
        boolean isOurs = Channel.isValid(gap.channel())
                && session.cursors.gap(Channel.parse(gap.channel()), gap.key(), gap.until());
        if (isOurs) {
            session.events.add(new Event.Gap(gap.channel(), gap.key(), gap.after(), gap.until(), gap.reason()));
        }
    }

    /** Whether something about this channel, or about the whole connection, is of interest. */
    private boolean concerns(String channel) {
        return channel == null || Channel.isValid(channel) && session.wanted.contains(Channel.parse(channel));
    }

    private void subscribed(ServerMessage.Subscribed answer) {
        if (!Channel.isValid(answer.channel())) {
            return;
        }
        Channel channel = Channel.parse(answer.channel());
        Wanted.Confirmed confirmed = session.wanted.confirm(channel, answer.id());
        if (confirmed == Wanted.Confirmed.NOTHING) {
            // nothing has begun; if it was unsubscribed meanwhile, its updates are dropped
            return;
        }
        String since = confirmed == Wanted.Confirmed.ANSWER ? session.wanted.takeSince(channel) : null;
        String cursor = answer.cursor() != null || !answer.recovered() ? answer.cursor() : since;
        boolean isAnew =
                session.cursors.begin(channel, answer.mode(), answer.recovered(), answer.reason(), cursor);
        session.events.add(new Event.Subscribed(answer.channel(), answer.mode(), answer.recovered(), answer.reason(),
                isAnew, session.cursors.since(channel)));
    }

    private void unsubscribed(ServerMessage.Unsubscribed message) {
        if (!Channel.isValid(message.channel())) {
            return;
        }
        Channel channel = Channel.parse(message.channel());
        boolean isByGateway = message.id() == null;
        if (isByGateway) {
            session.wanted.remove(channel);
            session.cursors.end(channel);
        }
        if (isByGateway || session.leaving.remove(channel)) {
            session.events.add(new Event.Unsubscribed(message.channel()));
        }
    }

    private void system(long now, ServerMessage.SystemStatus status) {
        String message = status.message() == null ? null : Text.printable(status.message());
        if (status.status() == SystemState.TOKEN_EXPIRING) {
            session.auth.expiring(now, status.expiresInMs());
        } else if (status.status() == SystemState.DRAINING) {
            if (session.isLive() && status.reconnectInMs() != null) {
                session.link.draining(now, status.reconnectInMs());
            }
            session.events.add(new Event.Draining(status.reconnectInMs(), message));
        } else {
            session.events.add(new Event.Notice(message == null ? status.status().wire() : message));
        }
    }

    private Parting refused(long now, ServerMessage.Error error) {
        if (session.isLive() && error.id() != null && error.id().number() != null) {
            // a refused ping is answered
            session.link.answered(error.id().number());
        }
        if (session.auth.isAbout(error.id())) {
            return session.setBack(session.auth.refused(now, error, session.random));
        }
        if (session.publishes.refused(now, error)) {
            return null;
        }
        String message = Text.printable(error.message());
        List<Channel> channels = session.wanted.refused(error.id(), error.channel());
        if (channels.isEmpty()) {
            String about = error.channel() == null ? null : Text.printable(error.channel());
            session.events.add(new Event.Refused(error.code(), message, about, null));
        }
        long atLeastMs = Backoff.asked(error.retryAfterMs());
        for (Channel channel : channels) {
            if (error.code().mayRetry()) {
                long wait = session.wanted.postpone(channel, now, atLeastMs, session.random);
                session.events.add(new Event.Refused(error.code(), message, channel.toString(), wait));
            } else {
                session.wanted.remove(channel);
                session.cursors.end(channel);
                session.events.add(new Event.Refused(error.code(), message, channel.toString(), null));
                session.events.add(new Event.Unsubscribed(channel.toString()));
            }
        }
        return null;
    }
}
