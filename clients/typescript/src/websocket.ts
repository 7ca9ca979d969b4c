/**
 * A WebSocket. Only what all runtimes share is relied on: a refused handshake looks like a failed connect, and pings of
 * the gateway are seen only where the package `ws` shows them.
 */

import { comeBack, NORMAL } from './close.js';
import { json } from './codec.js';
import type { OpenTransport } from './transport.js';

/** Opens a WebSocket. */
export const openWebSocket: OpenTransport = ({ settings, codec }, handlers) => {
  let isOver = false;
  const over = (reason: string, code: number, isUnreadable = false) => {
    if (isOver) return;
    isOver = true;
    handlers.end({ reason, comeBack: isUnreadable ? 'later' : comeBack(code), code: code || undefined, isUnreadable });
  };
  let socket: InstanceType<NonNullable<typeof settings.WebSocket>>;
  try {
    socket = new settings.WebSocket!(settings.url, [codec.protocol]);
  } catch (error) {
    // the address is one that this page may not connect to
    settings.clock.setTimeout(() => over(String(error), 1006), 0);
    return { send: () => true, close: () => void (isOver = true) };
  }
  socket.binaryType = 'arraybuffer';
  const close = () => {
    isOver = true;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // ws makes an error of what is closed before it is open
    socket.onerror = () => undefined;
    try {
      socket.close(NORMAL);
    } catch {
      // one that never opened
    }
  };
  socket.onmessage = ({ data }: { data: unknown }) => {
    if (isOver) return;
    handlers.sign(typeof data === 'string' ? data.length : (data as ArrayBuffer).byteLength);
    let message;
    try {
      message = (typeof data === 'string' ? json : codec).decode(data);
    } catch (error) {
      over(`not readable: ${String(error)}`, 0, true);
      close();
      return;
    }
    handlers.message(message);
  };
  (socket as { on?: (event: 'ping', listener: () => void) => void }).on?.('ping', () => handlers.sign(0));
  socket.onerror = () => undefined;
  socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
    over(reason || (code === 1006 ? 'connection lost' : `closed with ${code}`), code);
  return {
    send(message) {
      try {
        if (!isOver) socket.send(codec.encode(message));
      } catch {
        // it is closing: the end is about to be told
      }
      return true;
    },
    close,
  };
};
