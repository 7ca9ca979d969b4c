package dev.odin.client;

import dev.odin.client.protocol.Channel;
import dev.odin.client.protocol.Update;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Who hears of what. What a listener throws is logged; the client goes on. Used by the client's thread alone. */
final class Handlers {
    private static final Logger LOG = Logger.getLogger(Handlers.class.getName());

    private final EventListener all;
    private final Consumer<Channel> ended;
    private final Map<String, ChannelListener> channels = new HashMap<>();

    /** {@code ended} is told of a subscription that the gateway has ended. */
    Handlers(EventListener all, Consumer<Channel> ended) {
        this.all = all;
        this.ended = ended;
    }

    void put(Channel channel, ChannelListener listener) {
        channels.put(channel.toString(), listener);
    }

    /** The subscription has ended: its listener hears so, and of nothing else. Whether there was one. */
    boolean remove(Channel channel) {
        ChannelListener listener = channels.remove(channel.toString());
        if (listener != null) {
            guard(() -> listener.onEvent(new Event.Unsubscribed(channel.toString())));
        }
        return listener != null;
    }

    /** The gateway has ended the subscription. If the application was first, its listener has heard so already. */
    void end(Channel channel) {
        if (remove(channel)) {
            ended.accept(channel);
        }
    }

    void tell(Event event) {
        if (event instanceof Event.Updated updated) {
            update(updated.update());
        } else {
            about(event).forEach(listener -> guard(() -> listener.onEvent(event)));
        }
        guard(() -> all.onEvent(event));
    }

    private void update(Update update) {
        String name = update.channel();
        ChannelListener exact = channels.get(name);
        if (exact != null) {
            guard(() -> exact.onUpdate(update));
        }
        int colon = name.lastIndexOf(':');
        ChannelListener pattern = colon < 0 ? null : channels.get(name.substring(0, colon) + ":*");
        if (pattern != null) {
            guard(() -> pattern.onUpdate(update));
        }
    }

    /** The listeners of the subscriptions that an event is about. */
    private List<ChannelListener> about(Event event) {
        if (event instanceof Event.Subscribed subscribed) {
            return of(subscribed.channel());
        } else if (event instanceof Event.Refused refused) {
            return of(refused.channel());
        } else if (event instanceof Event.Gap gap) {
            return touching(gap.channel());
        } else if (event instanceof Event.Repeated repeated) {
            return touching(repeated.channel());
        } else if (event instanceof Event.Stale stale) {
            return stale.channel() == null ? new ArrayList<>(channels.values()) : of(stale.channel());
        } else if (event instanceof Event.Closed) {
            return new ArrayList<>(channels.values());
        } else if (event instanceof Event.Live live) {
            return live.channel() == null ? new ArrayList<>(channels.values()) : of(live.channel());
        }
        return List.of();
    }

    private List<ChannelListener> of(String channel) {
        ChannelListener listener = channel == null ? null : channels.get(channel);
        return listener == null ? List.of() : List.of(listener);
    }

    /** The subscriptions that cover a channel, and those that a pattern covers. */
    private List<ChannelListener> touching(String name) {
        List<ChannelListener> found = new ArrayList<>();
        Channel channel = Channel.parse(name);
        channels.forEach((held, listener) -> {
            Channel other = Channel.parse(held);
            if (other.covers(channel) || channel.covers(other)) {
                found.add(listener);
            }
        });
        return found;
    }

    private static void guard(Runnable call) {
        try {
            call.run();
        } catch (RuntimeException thrown) {
            LOG.log(Level.WARNING, "a listener threw", thrown);
        }
    }
}
