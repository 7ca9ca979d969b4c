/** The gateway that the page is on dies. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { counter, row, waitForPrice, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 40 });
});

afterAll(async () => scene.end());

/** Checklist 53 and 51: kill -9 of a gateway; the subscriber moves to another one. */
test("a killed gateway is seen at once, and the page goes on at the other one without a gap", async () => {
  const { stage } = scene;
  await stage.order({ do: "balance", only: 0 });
  const page = await scene.open();
  // by WebSocket alone, or it may be on a fallback in between;
  // one channel has a position to come back to from its first update on, a pattern not before its first checkpoint
  await page.evaluate(() => localStorage.setItem("odin.settings", JSON.stringify({ channels: "price:ME", transport: "websocket" })));
  await page.reload();
  await waitForStatus(page, /^Live$/);
  await stage.price("ME", 1);
  await waitForPrice(page, "ME", "1.0000");
  await stage.order({ do: "kill_gateway", index: 0 });
  await waitForStatus(page, /^(Reconnecting|Connecting)$/);
  await page.locator("#status-detail", { hasText: /next try in \d+ s|trying now/ }).waitFor();
  await page.locator("#status-detail", { hasText: /last price .* ago/ }).waitFor();
  const shown = await page.evaluate(() => ({ ...document.documentElement.dataset, icon: document.querySelector("#favicon")?.getAttribute("href") }));
  expect(shown).toMatchObject({ tone: "wait", fresh: "no", icon: "./icon-wait.svg" });
  expect(await page.title()).toMatch(/^↻ /);
  const colour = await row(page, "ME").locator(".price").evaluate((cell) => getComputedStyle(cell).color);
  const muted = await page.locator("#table-count").evaluate((element) => getComputedStyle(element).color);
  expect(colour).toBe(muted);
  // published while nobody listens
  await stage.price("ME", 2);
  await stage.order({ do: "balance", only: 1 });
  await waitForStatus(page, /^Live$/, 60_000);
  await waitForPrice(page, "ME", "2.0000");
  await expect.poll(() => counter(page, "Resumed")).toBeGreaterThan(0);
  expect(await counter(page, "Reconnects")).toBe(1);
  expect(await counter(page, "Gaps")).toBe(0);
  expect(await counter(page, "Begun anew")).toBe(0);
  expect(await page.title()).not.toMatch(/^↻ /);
  await page.context().close();
});

test("disconnecting and connecting by hand says what it is", async () => {
  await scene.stage.order({ do: "balance", only: 1 });
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await page.getByRole("button", { name: "Disconnect" }).click();
  await waitForStatus(page, /^Disconnected$/);
  expect(await page.title()).toMatch(/^✕ /);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await waitForStatus(page, /^Live$/);
  await page.context().close();
});
