import { expect, test } from "vitest";
import { Journal, MAX_ENTRIES } from "./journal.ts";

test("the same event again in a row is counted, and the list is bounded", () => {
  const journal = new Journal();
  journal.add("warn", "no connection", 1);
  journal.add("warn", "no connection", 2);
  expect(journal.entries).toEqual([{ weight: "warn", text: "no connection", time: 2, times: 2 }]);
  for (let entry = 0; entry < MAX_ENTRIES + 5; entry += 1) journal.add("info", String(entry), entry);
  expect(journal.entries.length).toBe(MAX_ENTRIES);
  expect(journal.entries[0]?.text).toBe(String(MAX_ENTRIES + 4));
});
