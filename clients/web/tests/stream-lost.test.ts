/** The stream behind the gateways dies; the connection stays. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { counter, waitForPrice, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
});

afterAll(async () => scene.end());

/** Checklist 45: NATS dies mid-run. */
test("without the stream values are stale, grey and not called fresh; with it they are live again", async () => {
  const { stage } = scene;
  await stage.price("BTC", 100);
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await waitForPrice(page, "BTC", "100.0000");
  await stage.order({ do: "stop_nats" });
  await waitForStatus(page, /^Stale$/);
  await page.locator("#status-detail", { hasText: "the gateway has lost the stream" }).waitFor();
  await page.locator("#announcer", { hasText: "Values are not fresh." }).waitFor({ state: "attached" });
  expect(await page.evaluate(() => document.documentElement.dataset.fresh)).toBe("no");
  expect(await page.title()).toMatch(/^⚠ Stale/);
  await page.locator("#counters > div", { hasText: "Updates/s" }).locator("dd", { hasText: "–" }).waitFor();
  await stage.order({ do: "start_nats" });
  await waitForStatus(page, /^Live$/, 60_000);
  await page.locator("#announcer", { hasText: "Values are fresh." }).waitFor({ state: "attached" });
  await stage.price("BTC", 101);
  await waitForPrice(page, "BTC", "101.0000");
  expect(await counter(page, "Gaps")).toBe(0);
  expect(await counter(page, "Reconnects")).toBe(0);
  await page.context().close();
});
