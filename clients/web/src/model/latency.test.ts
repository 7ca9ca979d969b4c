import { expect, test } from "vitest";
import { BARS, barOf, BOUNDS, Latency, LATENCY_SECONDS, SKEW_MS } from "./latency.ts";

test("quantiles are the bound of their bar", () => {
  const latency = new Latency();
  for (let sample = 0; sample < 98; sample += 1) latency.add(1.5);
  latency.add(40);
  latency.add(700);
  latency.roll();
  expect(latency.figures()).toMatchObject({ samples: 100, p50: 2, p99: 50, skewed: 0, skew: null });
});

/** Checklist 50: publisher clock skewed by an hour. */
test("what cannot be true is counted apart, and forgotten after a minute", () => {
  const latency = new Latency();
  latency.add(-3);
  latency.add(SKEW_MS + 1);
  latency.add(5);
  latency.roll();
  expect(latency.figures()).toMatchObject({ samples: 1, now: 5, p99: 5, skewed: 2, skew: SKEW_MS + 1 });
  latency.roll(LATENCY_SECONDS);
  expect(latency.figures()).toMatchObject({ samples: 0, now: null, p50: null, skewed: 0, skew: null });
});

test("every latency has a bar", () => {
  expect(barOf(0)).toBe(0);
  expect(barOf(1)).toBe(0);
  expect(barOf(1.001)).toBe(1);
  expect(barOf(BOUNDS.at(-1) ?? 0)).toBe(BARS - 2);
  expect(barOf(SKEW_MS)).toBe(BARS - 1);
});

test("after a pause of any length the past is gone", () => {
  const latency = new Latency();
  for (let second = 0; second < 200; second += 1) {
    latency.add(second % 50);
    latency.roll();
  }
  expect(latency.figures().samples).toBe(LATENCY_SECONDS - 1);
  latency.roll(1e9);
  expect(latency.figures().samples).toBe(0);
});
