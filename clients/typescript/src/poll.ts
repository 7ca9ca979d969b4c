/**
 * Long polling: one request after the other, each with the cursors that the last answer gave. It works wherever HTTP
 * does; what it costs is a request for each piece of news.
 */

import { checkMessage } from './codec.js';
import { entriesOf, failed, greeting, post, publish, refusal } from './http.js';
import type { RequestId, ServerMessage, SubscribeEntry } from './message.js';
import type { OpenTransport } from './transport.js';

/** Most channels of one request. */
const MAX_CHANNELS = 500;
/** Least time between two requests, in milliseconds: a gateway that answers at once is not asked without a pause. */
const PACE_MS = 100;

interface Entry {
  entry: SubscribeEntry;
  id: RequestId | undefined;
  /** Where the last answer ended. */
  since: string | undefined;
  hasBegun: boolean;
}

interface Answer {
  cursor?: string;
  messages: ServerMessage[];
}

/** Opens a loop of polls. */
export const openPoll: OpenTransport = (around, handlers) => {
  const { clock, pollWaitS, connectTimeoutMs } = around.settings;
  const entries = new Map<string, Entry>();
  const lasting = new AbortController();
  let round = new AbortController();
  /** What the last answers said to be stale: channels, and an empty text for everything. */
  const stale = new Set<string>();
  let isOver = false;
  let hasGreeted = false;
  let isDue = false;

  const end: typeof handlers.end = (parting) => {
    if (isOver) return;
    close();
    handlers.end(parting);
  };
  const close = () => {
    isOver = true;
    round.abort();
    lasting.abort();
  };
  const tell = (message: ServerMessage) => {
    if (!isOver) handlers.message(message);
  };
  const greet = () => {
    if (!hasGreeted) tell(greeting());
    hasGreeted = true;
  };

  /** What was asked for has changed: the requests under way are made again, with the same cursors. */
  const restart = () => {
    isDue = false;
    if (isOver) return;
    round.abort();
    round = new AbortController();
    const all = [...entries.values()];
    if (all.length === 0) greet();
    for (let at = 0; at < all.length; at += MAX_CHANNELS) void loop(all.slice(at, at + MAX_CHANNELS), round.signal);
  };
  const change = () => {
    if (!isDue) queueMicrotask(restart);
    isDue = true;
  };

  const loop = async (asked: Entry[], signal: AbortSignal) => {
    let hasNewToken = false;
    let hasFailed = false;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const timer = clock.setTimeout(
        () => end({ reason: 'no answer to a poll', comeBack: 'soon' }),
        pollWaitS * 1000 + connectTimeoutMs,
      );
      try {
        const channels = asked.map(({ entry, since }) => ({ ...entry, ...(since !== undefined && { since }) }));
        // the first answer shows that there is a way, so it is not waited for
        const path = `/v1/poll?wait=${hasGreeted ? pollWaitS : 0}`;
        const response = await post(around, path, { type: 'subscribe', channels }, signal);
        if (response.ok) {
          const text = await response.text();
          if (signal.aborted) return;
          handlers.sign(text.length);
          const answer = JSON.parse(text) as Answer;
          greet();
          take(asked, answer);
          hasNewToken = hasFailed = false;
        } else {
          const { error, parting, isAboutChannels } = await refusal(response);
          if (signal.aborted) return;
          if (parting.isUnauthorized && hasGreeted && !hasNewToken) {
            around.token = await around.freshToken();
            hasNewToken = true;
          } else {
            if (isAboutChannels) {
              for (const { entry, id } of asked) tell({ type: 'error', ...error, id: id!, channel: entry.channel });
            }
            return end(parting);
          }
        }
      } catch (error) {
        if (signal.aborted) return;
        // a kept connection that was just closed looks like this; the same cursor gives the same answer
        if (!hasGreeted || hasFailed || error instanceof SyntaxError) return end(failed(error));
        hasFailed = true;
      } finally {
        clock.clearTimeout(timer);
      }
      const rest = PACE_MS - (clock.monotonic() - began);
      if (rest > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, rest));
    }
  };

  const take = (asked: Entry[], { cursor, messages }: Answer) => {
    if (!Array.isArray(messages)) throw new SyntaxError('a poll without messages');
    const checked = messages.map(checkMessage);
    const named = new Set<string>();
    for (const message of checked) {
      if (message.type !== 'subscribed' && message.type !== 'error') continue;
      const entry = entries.get(message.channel ?? '');
      if (!entry) continue;
      named.add(entry.entry.channel);
      const isRefused = message.type === 'error';
      if ((isRefused || !entry.hasBegun) && entry.id !== undefined) message.id = entry.id;
      entry.hasBegun = true;
      if (isRefused) {
        // it would be refused with each request
        entries.delete(entry.entry.channel);
        change();
      }
    }
    for (const one of asked) {
      const { entry, id, since, hasBegun } = one;
      // what goes on where it was is not mentioned
      if (hasBegun || named.has(entry.channel) || (since ?? entry.since) === undefined) continue;
      one.hasBegun = true;
      const mode = around.mode(entry.channel) ?? entry.mode ?? 'latest';
      tell({ type: 'subscribed', ...(id !== undefined && { id }), channel: entry.channel, mode, recovered: true });
    }
    checked.forEach(tell);
    // each answer says anew what is stale: what it does not mention is not any more
    const told = new Set<string>();
    for (const { type, channel = '' } of checked as { type: string; channel?: string }[]) {
      if (type === 'stale') [stale, told].forEach((set) => set.add(channel));
      if (type === 'live') stale.delete(channel);
    }
    for (const channel of stale) {
      if (told.has(channel)) continue;
      stale.delete(channel);
      tell({ type: 'live', ...(channel && { channel }) });
    }
    const cursors = typeof cursor === 'string' ? cursor.split(',') : [];
    asked.forEach((one, index) => {
      const position = cursors.length === asked.length ? cursors[index] : cursors[0];
      if (!position) return;
      one.since = position;
      tell({ type: 'checkpoint', cursor: position, channel: one.entry.channel });
    });
  };

  change();
  return {
    send(message) {
      if (message.type === 'publish') {
        void publish(around, message, lasting.signal, tell);
      } else if (message.type === 'subscribe') {
        for (const entry of entriesOf(message)) {
          entries.set(entry.channel, { entry, id: message.id, since: undefined, hasBegun: false });
        }
        change();
      } else if (message.type === 'unsubscribe') {
        for (const channel of message.channels) entries.delete(channel);
        change();
      }
      return true;
    },
    close,
  };
};
