/** A network that lets no WebSocket through. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { counter, waitForPrice, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";
import { mint, signIn } from "./support/token.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 20 });
});

afterAll(async () => scene.end());

test("without WebSocket the page is live by server-sent events, says so, and goes back by itself", async () => {
  const { stage } = scene;
  await stage.price("ME", 1);
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await waitForPrice(page, "ME", "1.0000");
  await stage.order({ do: "block_websocket", on: true });
  await waitForStatus(page, /^Live by server-sent events$/, 60_000);
  expect(await page.evaluate(() => document.documentElement.dataset.tone)).toBe("fallback");
  expect(await page.title()).toMatch(/^fallback · /);
  await stage.price("ME", 2);
  await waitForPrice(page, "ME", "2.0000");
  await stage.order({ do: "block_websocket", on: false });
  await waitForStatus(page, /^Live$/, 90_000);
  await stage.price("ME", 3);
  await waitForPrice(page, "ME", "3.0000");
  expect(await counter(page, "Gaps")).toBe(0);
  await page.context().close();
});

test("each way to connect can be chosen, and brings prices and signals", async () => {
  const { stage } = scene;
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await signIn(page, mint("user-1"));
  await page.locator("#user", { hasText: "user-1" }).waitFor();
  let price = 10;
  for (const [transport, title] of [
    ["events", /^Live by server-sent events$/],
    ["poll", /^Live by long polling$/],
    ["websocket", /^Live$/],
  ] as const) {
    await page.click("#open-settings");
    await page.selectOption("#set-transport", transport);
    await page.click("#settings-form .primary");
    await waitForStatus(page, title);
    price += 1;
    await stage.price("ME", price);
    await waitForPrice(page, "ME", `${price}.0000`);
    const signal = { signal: "whale", entity: "ME", severity: "low", score: price, direction: "up" };
    await stage.order({ do: "publish", subject: "odin.signals.whale.ME", data: signal });
    await page.locator("#signals .signal", { hasText: "ME" }).filter({ hasText: String(price) }).first().waitFor();
  }
  await page.context().close();
});
