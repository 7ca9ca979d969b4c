/**
 * The seam between the client and a way to reach a gateway. Whatever the way, messages go in and messages come out; a
 * transport knows no subscriptions, cursors or back-off of its own.
 */

import type { Parting } from './close.js';
import type { Codec } from './codec.js';
import type { ClientMessage, Mode, ServerMessage } from './message.js';
import type { Settings, TransportName } from './options.js';

/** What a transport tells. */
export interface Handlers {
  /** A message came. */
  message(message: ServerMessage): void;
  /** So much came, whatever it is: a sign of life. In bytes, or characters of text. */
  sign(size: number): void;
  /** It is over, for whatever reason but {@link Transport.close}. Called once, and nothing after it. */
  end(parting: Parting): void;
}

/** What a transport is given. */
export interface Surroundings {
  settings: Settings;
  codec: Codec;
  /** For transports that sign in with each request. */
  token: string | undefined;
  /** Another token, when the one above is no longer taken. */
  freshToken(): Promise<string>;
  /** The mode of a channel, if that is known from before. */
  mode(channel: string): Mode | undefined;
}

/** One connection. It begins with `connection:status`, of the gateway's or of its own. */
export interface Transport {
  /**
   * What it cannot do while it runs: then it says no by `false`, and another one of its kind has to be opened.
   * It never throws, and a message for a connection that is ending is lost like any other.
   */
  send(message: ClientMessage): boolean;
  /** Ends it. Nothing is told after this. */
  close(): void;
}

/** Opens a connection. It never throws: what fails at once is told later. */
export type OpenTransport = (around: Surroundings, handlers: Handlers) => Transport;

/** What differs between transports beside how they are opened. */
export interface TransportKind {
  readonly name: TransportName;
  /** How to open one; the fallbacks are loaded when they are needed, for most pages never need them. */
  readonly load: () => OpenTransport | Promise<OpenTransport>;
  /** Signs in by `auth` on the connection, waits for `connection:status` before it is spoken to, and answers pings. */
  readonly isSocket: boolean;
}
