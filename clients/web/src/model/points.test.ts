import { expect, test } from "vitest";
import { MAX_POINTS, Points, SPACING_MS } from "./points.ts";

function all(points: Points): [number, number][] {
  return Array.from({ length: points.length }, (_, index) => [points.time(index), points.value(index)]);
}

test("values that come close together become one with the last of them", () => {
  const points = new Points();
  points.add(0, 1);
  points.add(SPACING_MS - 1, 2);
  points.add(SPACING_MS, 3);
  expect(all(points)).toEqual([
    [0, 2],
    [SPACING_MS, 3],
  ]);
});

test("a ring grows to its bound and then forgets the oldest", () => {
  const points = new Points();
  for (let second = 0; second < MAX_POINTS + 10; second += 1) points.add(second * 1_000, second);
  expect(points.length).toBe(MAX_POINTS);
  expect(points.capacity).toBe(MAX_POINTS);
  expect(points.value(0)).toBe(10);
  expect(points.value(MAX_POINTS - 1)).toBe(MAX_POINTS + 9);
});

test("a break is kept apart from the value before and after it, and is there once", () => {
  const points = new Points();
  points.break(0);
  points.add(0, 1);
  points.break(100);
  points.break(200);
  points.add(300, 2);
  expect(all(points)).toEqual([
    [0, 1],
    [100, NaN],
    [300, 2],
  ]);
});

test("a time before the last one counts as that", () => {
  const points = new Points();
  points.add(1_000, 1);
  points.add(200, 2);
  expect(all(points)).toEqual([[1_000, 2]]);
});

test("the first point at or after a time is found", () => {
  const points = new Points();
  for (const time of [1_000, 2_000, 3_000]) points.add(time, time);
  expect([0, 1_000, 1_001, 3_000, 3_001].map((time) => points.indexAt(time))).toEqual([0, 0, 1, 2, 3]);
});

test("a past that is put in front leaves breaks where they are", () => {
  const points = new Points();
  points.add(5_000, 5);
  points.break(5_000);
  points.add(9_000, 9);
  points.prepend([1_000, 2_000], [1, NaN]);
  expect(all(points)).toEqual([
    [1_000, 1],
    [2_000, NaN],
    [5_000, 5],
    [5_000, NaN],
    [9_000, 9],
  ]);
});

test("a past is put in front, and what is known already is not taken from it", () => {
  const points = new Points();
  points.add(5_000, 5);
  points.add(6_000, 6);
  points.prepend([3_000, 4_000, 5_000, 5_500], [3, 4, 50, 55]);
  expect(all(points)).toEqual([
    [3_000, 3],
    [4_000, 4],
    [5_000, 5],
    [6_000, 6],
  ]);
});
