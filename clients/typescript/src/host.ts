/**
 * What a connection knows of the client that holds it: what is shared between connections, and whom it tells.
 */

import type { AuthMemory } from './auth.js';
import type { Parting } from './close.js';
import type { Codec } from './codec.js';
import type { OdinError } from './errors.js';
import type { Link } from './link.js';
import type { SignedIn, Stats } from './odin.js';
import type { GapMessage, ServerMessage, SubscribedMessage, UpdateMessage } from './message.js';
import type { Settings } from './options.js';
import type { Positions } from './positions.js';
import type { Publishes } from './publish.js';
import type { Wish, Wishes } from './wish.js';

/** What a link leaves to the client. */
export type News = Exclude<ServerMessage, UpdateMessage | SubscribedMessage | { type: 'error' | 'authenticated' }>;

/** See the file. */
export interface Host {
  readonly settings: Settings;
  readonly wishes: Wishes;
  readonly positions: Positions;
  readonly publishes: Publishes;
  readonly memory: AuthMemory;
  readonly stats: Stats;
  /** Ids are never used twice, on whatever connection. */
  nextId(): number;
  /** How messages are written on a WebSocket. */
  codec(): Codec | Promise<Codec>;
  /** Asks the source of tokens, and not for ever. */
  freshToken(): Promise<string>;
  /** A gateway was reached. */
  greeted(link: Link): void;
  /** The link can be asked for things. */
  ready(link: Link): void;
  /** Everything that it was asked for has been answered. */
  settled(link: Link): void;
  /** It cannot be changed as is wished for: another one of its kind has to be opened. */
  renew(link: Link): void;
  /** The end; `unreached`: no gateway ever answered. */
  ended(link: Link, parting: Parting, unreached: boolean): void;
  signedIn(link: Link, event: SignedIn): void;
  update(message: UpdateMessage): void;
  begun(wish: Wish, message: SubscribedMessage): void;
  /** The gateway has ended it, or does not want it. */
  refused(wish: Wish, error: OdinError | undefined): void;
  /** Something went wrong and nothing has ended. */
  failed(error: OdinError): void;
  /** Every other message. */
  told(link: Link, message: News | GapMessage): void;
}
