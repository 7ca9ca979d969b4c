import { expect, test } from "vitest";
import { Rate, RATE_SECONDS } from "./rate.ts";

test("a rate is the mean of the last whole seconds, however few there were", () => {
  const rate = new Rate();
  rate.add(10);
  expect(rate.perSecond).toBe(0);
  rate.roll();
  expect(rate.perSecond).toBe(10);
  rate.add(20);
  rate.roll();
  expect(rate.perSecond).toBe(15);
  rate.roll(RATE_SECONDS - 2);
  expect(rate.perSecond).toBe(6);
  rate.roll(1e9);
  expect(rate.perSecond).toBe(0);
});
