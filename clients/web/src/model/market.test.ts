import { expect, test } from "vitest";
import { Market, MAX_TOKENS } from "./market.ts";

const price = (channel: string, data: unknown, snapshot = false, ts = 0) => ({ channel, data, ts, snapshot });

test("a price makes its token, and the next one moves it", () => {
  const market = new Market();
  market.take(price("price:BTC", { price: 1, priceChange24h: 2, volume24h: 3 }), 10, 1_000);
  market.take(price("price:BTC", { price: 0.5 }), 20, 2_000);
  const token = market.tokens.get("BTC");
  expect(token).toMatchObject({ price: 0.5, change: 2, volume: 3, direction: -1, movedAt: 20, heardAt: 20, version: 2 });
  expect(market.members).toBe(1);
});

test("a snapshot is as old as the stream says, moves nothing and is no latency", () => {
  const market = new Market();
  market.take(price("price:BTC", { price: 1, timestamp: 0 }, true, 60_000), 100_000, 90_000);
  expect(market.tokens.get("BTC")).toMatchObject({ heardAt: 70_000, direction: 0 });
  market.roll(1);
  expect(market.latency.figures().samples).toBe(0);
});

/** Checklist 49: payloads of every shape. */
test("what has no usable price is counted and makes no token", () => {
  const market = new Market();
  const hostile = [undefined, null, 1, "1", [], [1], {}, { price: "1" }, { price: NaN }, { price: Infinity }, { price: {} }];
  for (const data of hostile) market.take(price("price:X", data), 0, 0);
  expect(market.unreadable).toBe(hostile.length);
  expect(market.tokens.size).toBe(0);
});

test("tokens are bounded, and those beyond are counted", () => {
  const market = new Market();
  for (let token = 0; token < MAX_TOKENS + 5; token += 1) market.take(price(`price:T${token}`, { price: 1 }), 0, 0);
  expect(market.tokens.size).toBe(MAX_TOKENS);
  expect(market.beyond).toBe(5);
});

test("a line that was interrupted goes on when the price is known to be the same", () => {
  const market = new Market();
  market.take(price("price:BTC", { price: 1 }), 0, 1_000);
  market.take(price("price:ETH", { price: 1 }), 0, 3_000);
  // nothing was heard after that, so nothing is known after that
  market.break();
  market.break();
  market.mend(5_000);
  market.mend(6_000);
  const points = market.tokens.get("BTC")?.points;
  expect([0, 1, 2, 3].map((index) => [points?.time(index), points?.value(index)])).toEqual([
    [1_000, 1],
    [3_000, 1],
    [3_000, NaN],
    [5_000, 1],
  ]);
  expect(points?.length).toBe(4);
});
