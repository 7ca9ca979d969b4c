import { expectTypeOf, test } from 'vitest';
import WebSocket from 'ws';
import { connect } from '../src/index.js';
import type { Odin, Price, Signal, Update, WebSocketConstructor } from '../src/index.js';

test('the payload follows from the channel, or is what the application says', () => {
  const types = (odin: Odin) => {
    odin.subscribe('price:BTC', (update) => expectTypeOf(update.data).toEqualTypeOf<Price>());
    odin.subscribe('signals:all', (update) => expectTypeOf(update).toEqualTypeOf<Update<Signal>>());
    odin.subscribe('chat:lobby', (update) => expectTypeOf(update.data).toEqualTypeOf<unknown>());
    odin.subscribe<{ text: string }>('chat:lobby', (update) => expectTypeOf(update.data.text).toEqualTypeOf<string>());
    const channel: string = 'x';
    odin.subscribe(channel, (update) => expectTypeOf(update.data).toEqualTypeOf<unknown>());
  };
  expectTypeOf(types).returns.toEqualTypeOf<void>();
  expectTypeOf(connect).returns.toEqualTypeOf<Odin>();
});

test('the constructors of browsers and of ws are taken', () => {
  expectTypeOf<typeof globalThis.WebSocket>().toExtend<WebSocketConstructor>();
  expectTypeOf<typeof WebSocket>().toExtend<WebSocketConstructor>();
});
