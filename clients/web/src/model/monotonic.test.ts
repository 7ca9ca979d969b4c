import { expect, test } from "vitest";
import { Monotonic } from "./monotonic.ts";

test("sleep in which the steady clock stands still is counted", () => {
  let [steady, wall] = [0, 1_000_000];
  const clock = new Monotonic(
    () => steady,
    () => wall,
  );
  steady += 250;
  wall += 250;
  expect(clock.look()).toBe(0);
  wall += 3_600_000;
  expect(clock.look()).toBe(3_600_000);
  expect(clock.now()).toBe(3_600_250);
});

/** Checklist 55: the clock jumps by an hour. */
test("a wall clock that is set back changes nothing", () => {
  let [steady, wall] = [0, 1_000_000];
  const clock = new Monotonic(
    () => steady,
    () => wall,
  );
  wall -= 3_600_000;
  steady += 100;
  expect(clock.look()).toBe(0);
  expect(clock.now()).toBe(100);
});
