/**
 * The client of odin for browsers, Node, Deno and React Native.
 *
 * ```ts
 * import { connect } from '@odin/client';
 *
 * const odin = connect({ url: 'wss://odin.example/ws' });
 * odin.on('state', (state) => console.log(state.status));
 * odin.subscribe('price:BTC', (update) => console.log(update.data.price));
 * ```
 *
 * @packageDocumentation
 */

export { connect } from './client.js';
export type { Odin, OdinEvents, SignedIn, Stats, SystemNews } from './odin.js';
export { cursorOf } from './cursor.js';
export { OdinError } from './errors.js';
export type { ClientErrorCode, OdinErrorDetails } from './errors.js';
export type { ErrorCode, GapReason, Mode, Open, ResumeReason, StaleReason, SystemState } from './message.js';
export type {
  Clock,
  ConnectOptions,
  Network,
  PublishOptions,
  SubscribeOptions,
  TransportName,
  WebSocketConstructor,
  WebSocketLike,
} from './options.js';
export type * from './payloads.js';
export type { Published } from './publish.js';
export type { Connection, State } from './state.js';
export type { Begin, End, Gap, Off, Stale, Subscription, SubscriptionEvents, Update } from './subscription.js';
