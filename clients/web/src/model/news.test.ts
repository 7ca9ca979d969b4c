import { expect, test } from "vitest";
import { MAX_NEWS, readNotification, readSignal, Recent } from "./news.ts";

test("a list is bounded and counts all there ever were", () => {
  const recent = new Recent<{ time: number }>();
  for (let item = 0; item < MAX_NEWS + 20; item += 1) recent.add({ time: item });
  expect(recent.items.length).toBe(MAX_NEWS);
  expect(recent.items[0]?.time).toBe(MAX_NEWS + 19);
  expect(recent.total).toBe(MAX_NEWS + 20);
});

test("what comes late is put where it belongs", () => {
  const recent = new Recent<{ time: number }>();
  for (const time of [5, 9, 7, 9, 1]) recent.add({ time });
  expect(recent.items.map(({ time }) => time)).toEqual([9, 9, 7, 5, 1]);
  expect(recent.reordered).toBe(2);
});

/** Checklist 49: payloads of every shape. */
test("a signal of any shape has a kind, a time and nothing that is not text or number", () => {
  for (const data of [null, 1, "x", [], {}, { severity: {}, direction: 5, timestamp: 1e300, signal: [], score: "9" }]) {
    const signal = readSignal(data, "whale.BTC", 1_000);
    expect(signal).toEqual({
      time: 1_000,
      kind: "whale",
      entity: "BTC",
      severity: null,
      score: null,
      direction: null,
      price: null,
    });
    expect(() => new Date(signal.time).toISOString()).not.toThrow();
  }
  expect(readSignal({}, undefined, 0)).toMatchObject({ kind: "signal", entity: "" });
});

test("a notification is cut to what can be read", () => {
  const notification = readNotification({ title: "a".repeat(1_000), text: "b".repeat(1_000) }, 5);
  expect(notification.title.length).toBe(100);
  expect(notification.text.length).toBe(300);
});
