/**
 * Server-sent events, read as the bytes come. A line may end in the middle of a packet, a character too.
 */

/** Longest event taken, in characters: far above the 262,144 bytes that a gateway may send. */
const MAX_EVENT = 4_194_304;

/** One event; a comment has neither. */
export interface ServerSentEvent {
  /** `message` unless the server names it. */
  event: string;
  data: string;
}

/** A reader that calls `event` for each event, and `sign` for whatever comes. `push` throws for an endless event. */
export function createSseReader(event: (event: ServerSentEvent) => void): { push(bytes: Uint8Array): void } {
  const decoder = new TextDecoder();
  let rest = '';
  let [name, data, hasData] = ['', '', false];

  const line = (text: string) => {
    if (text === '') {
      if (hasData) event({ event: name || 'message', data });
      [name, data, hasData] = ['', '', false];
      return;
    }
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + (text[colon + 1] === ' ' ? 2 : 1));
    if (field === 'event') name = value;
    if (field === 'data') {
      data = hasData ? `${data}\n${value}` : value;
      hasData = true;
    }
  };

  return {
    push(bytes) {
      rest += decoder.decode(bytes, { stream: true });
      let from = 0;
      for (;;) {
        const end = endOfLine(rest, from);
        if (!end) break;
        line(rest.slice(from, end.at));
        from = end.next;
      }
      rest = rest.slice(from);
      if (rest.length + data.length > MAX_EVENT) throw new SyntaxError('an event without end');
    },
  };
}

/** Where the line ends and the next one begins; undefined if that is not known yet. */
function endOfLine(text: string, from: number): { at: number; next: number } | undefined {
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 10) return { at, next: at + 1 };
    if (code !== 13) continue;
    // a CR at the end may be half of a CRLF
    if (at + 1 === text.length) return undefined;
    return { at, next: at + (text.charCodeAt(at + 1) === 10 ? 2 : 1) };
  }
  return undefined;
}
