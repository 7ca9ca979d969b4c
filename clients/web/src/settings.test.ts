import { expect, test } from "vitest";
import { DEFAULTS, load, readChannels, readSettings, save, type Shelf } from "./settings.ts";

function shelf(value: string | null): Shelf & { value: string | null } {
  return {
    value,
    getItem() {
      return this.value;
    },
    setItem(_, text) {
      this.value = text;
    },
  };
}

test("what was chosen is found again", () => {
  const kept = shelf(null);
  const chosen = { ...DEFAULTS, transport: "poll", theme: "dark", channels: "price:BTC" } as const;
  save(kept, chosen);
  expect(load(kept)).toEqual(chosen);
});

test("what is in the storage is not trusted", () => {
  for (const text of ["", "{", "7", "null", "[]", '{"transport":"carrier pigeon","oldAfterS":-1,"sort":{"key":"x"},"flash":"yes"}']) {
    expect(load(shelf(text)), text).toEqual(DEFAULTS);
  }
  expect(readSettings({ channels: "price:<b>", gateway: "x".repeat(501), chartMinutes: 1e9 })).toEqual(DEFAULTS);
  expect(readSettings({ ...DEFAULTS, token: "BTC", secret: "x" })).toEqual({ ...DEFAULTS, token: "BTC" });
});

test("a storage that refuses is no trouble", () => {
  const broken: Shelf = {
    getItem: () => {
      throw new Error("denied");
    },
    setItem: () => {
      throw new Error("full");
    },
  };
  expect(load(broken)).toEqual(DEFAULTS);
  expect(() => save(broken, DEFAULTS)).not.toThrow();
});

test("channels are names or patterns", () => {
  expect(readChannels("price:BTC, price:ETH  price:BTC")).toEqual(["price:BTC", "price:ETH"]);
  expect(readChannels("price:*")).toEqual(["price:*"]);
  for (const line of ["", " ,", "price", "price:", "price:**", "*:BTC", "price:a b:*:c", "price:ä", `price:${"x".repeat(65)}`]) {
    expect(typeof readChannels(line), line).toBe("string");
  }
});
