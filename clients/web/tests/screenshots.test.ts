/** A picture of each state, for the documentation; by the way, that each of them can be reached. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { row, waitForStatus } from "./support/browser.ts";
import { picture } from "./support/picture.ts";
import { Scene } from "./support/scene.ts";
import { mint, signIn } from "./support/token.ts";

/** Largest picture, bytes. */
const LARGEST = 200 * 1024;

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 150, tokens: 60 });
});

afterAll(async () => scene.end());

/** Waits until the page has been through enough to look like one that is used. */
async function settle(page: Page): Promise<void> {
  await waitForStatus(page, /^Live/, 60_000);
  await row(page, "BTC").click();
  await page.mouse.move(640, 20);
  await page.locator("#latency-facts dd", { hasText: "ms" }).first().waitFor({ state: "attached" });
}

test("pictures of every state", { timeout: 400_000 }, async () => {
  const { stage } = scene;
  const light = await scene.open();
  const dark = await scene.open({ dark: true });
  const phone = await scene.open({ width: 390, height: 844, touch: true });
  for (const page of [light, dark, phone]) await settle(page);
  await phone.getByRole("button", { name: "Prices", exact: true }).click();
  await signIn(dark, mint("user-1"));
  await waitForStatus(dark, /^Live$/);
  // long enough for sparklines and a chart with a past
  const wanted = Number(process.env.ODIN_SCREENSHOTS === undefined ? 2 : 70);
  await dark.waitForTimeout(wanted * 1_000);
  const sizes: Record<string, number> = {};
  const take = async (page: Page, state: string): Promise<void> => {
    sizes[state] = await picture(page, state);
  };
  await take(light, "light");
  await take(dark, "signed-in");
  await take(phone, "phone");
  await phone.getByRole("button", { name: "Chart", exact: true }).click();
  await phone.waitForTimeout(500);
  await take(phone, "phone-chart");
  await dark.click("#open-sign-in");
  await dark.click("#sign-out");
  await waitForStatus(dark, /^Live$/);
  await dark.waitForTimeout(1_500);
  await take(dark, "dark");
  await stage.order({ do: "stop_nats" });
  await waitForStatus(light, /^Stale$/);
  await light.waitForTimeout(4_000);
  await take(light, "stale");
  await stage.order({ do: "start_nats" });
  await waitForStatus(light, /^Live$/, 60_000);
  await stage.order({ do: "block_websocket", on: true });
  await waitForStatus(light, /^Live by server-sent events$/, 60_000);
  await light.waitForTimeout(2_000);
  await take(light, "fallback");
  await stage.order({ do: "block_websocket", on: false });
  await waitForStatus(dark, /^Live$/, 120_000);
  await stage.order({ do: "kill_gateway", index: 0 });
  await stage.order({ do: "kill_gateway", index: 1 });
  await dark.locator("#status-detail", { hasText: /next try in [3-9] s/ }).waitFor({ timeout: 60_000 });
  await take(dark, "reconnecting");
  await light.getByRole("button", { name: "Disconnect" }).click();
  await waitForStatus(light, /^Disconnected$/);
  await light.waitForTimeout(500);
  await take(light, "closed");
  console.log(Object.entries(sizes).map(([state, size]) => `${state} ${Math.round(size / 1024)} KiB`).join(", "));
  for (const [state, size] of Object.entries(sizes)) expect(size, state).toBeLessThan(LARGEST);
});
