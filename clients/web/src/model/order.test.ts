import { expect, test } from "vitest";
import { arrange, firstSort, SORT_KEYS } from "./order.ts";
import { Token } from "./token.ts";

function token(name: string, price: number, change: number | null): Token {
  const made = new Token(name);
  made.take({ price, change, volume: null, timestamp: null }, price, price, true);
  return made;
}

const tokens = [token("BTC", 3, -1), token("ETH", 2, null), token("bnb", 1, 5)];
const names = (filter: string, sort = firstSort("name")): string[] => arrange(tokens, filter, sort).map(({ name }) => name);

test("a filter finds a part of a name in any case", () => {
  expect(names(" B ")).toEqual(["BTC", "bnb"]);
  expect(names("x")).toEqual([]);
});

test("a token without a value comes last in either direction", () => {
  expect(names("", { key: "change", descending: true })).toEqual(["bnb", "BTC", "ETH"]);
  expect(names("", { key: "change", descending: false })).toEqual(["BTC", "bnb", "ETH"]);
});

test("the largest comes first when a column is chosen, names begin at A", () => {
  expect(names("", firstSort("price"))).toEqual(["BTC", "ETH", "bnb"]);
  expect(SORT_KEYS.map((key) => firstSort(key).descending)).toEqual([false, true, true, true, true, true]);
});

test("the oldest comes first by age", () => {
  expect(names("", { key: "age", descending: true })).toEqual(["bnb", "ETH", "BTC"]);
});
