import { expect, test } from "vitest";
import { age, amount, duration, percent, price, rate, words } from "./format.ts";

test("prices have as many decimals as their size asks for", () => {
  expect([64_250.5, 152, 0.62, 0.0000116, 0, -5.5].map((value) => price(value))).toEqual([
    "64,250.50",
    "152.0000",
    "0.620000",
    "0.0000116000",
    "0.00",
    "−5.5000",
  ]);
});

test("changes have a sign, but nothing has none", () => {
  expect([1.5, -0.2, 0, -0.001].map(percent)).toEqual(["+1.50 %", "−0.20 %", "0.00 %", "0.00 %"]);
});

test("amounts have three digits", () => {
  expect([12, 945, 999.96, 1_822.25, 45_600, 1_234_567, 999_600, 2e9, 7e12].map(amount)).toEqual([
    "12",
    "945",
    "1.00 K",
    "1.82 K",
    "45.6 K",
    "1.23 M",
    "1.00 M",
    "2.00 B",
    "7.00 T",
  ]);
});

test("ages have one number", () => {
  expect([0, 999, 1_000, 59_999, 60_000, 3_600_000, 200_000_000].map(age)).toEqual([
    "now",
    "now",
    "1 s",
    "59 s",
    "1 min",
    "1 h",
    "2 d",
  ]);
});

test("durations have three digits at most", () => {
  expect([0.42, 3, 12.4, 1_234, 45_000, 180_000, -2_300].map(duration)).toEqual([
    "0.4 ms",
    "3 ms",
    "12 ms",
    "1.2 s",
    "45 s",
    "3 min",
    "−2.3 s",
  ]);
});

test("rates and names are for people", () => {
  expect([0, 0.3, 19.84, 4_012.2].map(rate)).toEqual(["0", "0.3", "19.8", "4,012"]);
  expect(words("extreme_greed")).toBe("extreme greed");
});
