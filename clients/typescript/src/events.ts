/**
 * Server-sent events, read from a streaming `fetch`: unlike `EventSource` it can send a token, and a body.
 *
 * A stream takes nothing from the client, so a change of what is subscribed, or a fresh token, needs another one; the
 * client opens that first and drops this one then.
 */

import { comeBack } from './close.js';
import { checkMessage } from './codec.js';
import { entriesOf, failed, greeting, post, publish, refusal } from './http.js';
import type { RequestId, ServerMessage } from './message.js';
import { createSseReader } from './sse.js';
import type { OpenTransport } from './transport.js';

/** Opens a stream of events. */
export const openEvents: OpenTransport = (around, handlers) => {
  const abort = new AbortController();
  let streams = 0;
  let isOver = false;
  let isFixed = false;

  const end: typeof handlers.end = (parting) => {
    if (isOver) return;
    isOver = true;
    abort.abort();
    handlers.end(parting);
  };
  const tell = (message: ServerMessage) => {
    if (!isOver) handlers.message(message);
  };

  const stream = async (id: RequestId | undefined, body: unknown, channels: string[]) => {
    streams += 1;
    // the first `subscribed` or `error` of a channel is the answer to the request
    const unanswered = new Set(channels);
    const event = ({ event, data }: { event: string; data: string }) => {
      if (event === 'close') {
        const { code, reason } = JSON.parse(data) as { code: number; reason: string };
        return end({ reason: String(reason), code: Number(code), comeBack: comeBack(Number(code)) });
      }
      const message = checkMessage(JSON.parse(data));
      if ((message.type === 'subscribed' || message.type === 'error') && unanswered.delete(message.channel ?? '')) {
        if (id !== undefined) message.id = id;
      }
      if (message.type === 'checkpoint' && streams > 1) {
        for (const channel of channels) tell({ ...message, channel });
        return;
      }
      tell(message);
    };
    try {
      const response = await post(around, '/v1/events', body, abort.signal);
      if (!response.ok) {
        const { error, parting, isAboutChannels } = await refusal(response);
        if (isAboutChannels) for (const channel of channels) tell({ type: 'error', ...error, id: id!, channel });
        return end(parting);
      }
      if (!response.body) return end({ reason: 'fetch cannot stream here', comeBack: 'soon', isUseless: true });
      const reader = response.body.getReader();
      const sse = createSseReader(event);
      for (;;) {
        const { done, value } = await reader.read();
        if (done || isOver) break;
        handlers.sign(value.length);
        sse.push(value);
      }
      end({ reason: 'the stream ended', comeBack: 'soon' });
    } catch (error) {
      end(failed(error));
    }
  };

  // all that is asked for at the begin is asked for in one go; without it there is no stream, and nothing to wait for
  queueMicrotask(() => {
    isFixed = true;
    if (streams === 0) tell(greeting());
  });

  return {
    send(message) {
      if (message.type === 'publish') {
        void publish(around, message, abort.signal, tell);
        return true;
      }
      if (message.type !== 'subscribe' || isFixed) return message.type === 'ping';
      const channels = entriesOf(message).map((entry) => entry.channel);
      void stream(message.id, { type: 'subscribe', channels: message.channels }, channels);
      return true;
    },
    close() {
      isOver = true;
      abort.abort();
    },
  };
};
