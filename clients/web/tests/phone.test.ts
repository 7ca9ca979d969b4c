/** Narrow screens, from 320 to 430 pixels. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { row, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 40 });
});

afterAll(async () => scene.end());

for (const width of [320, 375, 430]) {
  test(`everything fits and can be touched at ${width} pixels`, async () => {
    const page = await scene.open({ width, height: 740, touch: true });
    await waitForStatus(page, /^Live$/);
    await row(page, "BTC").waitFor();
    for (const view of ["Prices", "Chart", "Delivery", "News"]) {
      await page.getByRole("button", { name: view, exact: true }).click();
      const found = await page.evaluate(() => {
        const { scrollWidth, scrollHeight } = document.documentElement;
        const small = [...document.querySelectorAll<HTMLElement>("button, input, [role=tab]")]
          .filter((element) => element.checkVisibility() && element.offsetHeight > 0 && element.offsetHeight < 24)
          .map((element) => element.id || element.className);
        return { wide: scrollWidth - innerWidth, high: scrollHeight - innerHeight, small };
      });
      expect(found.wide, view).toBeLessThanOrEqual(0);
      expect(found.high, view).toBeLessThanOrEqual(0);
      expect(found.small, view).toEqual([]);
    }
    await page.getByRole("button", { name: "Prices", exact: true }).click();
    const cut = await row(page, "BTC").evaluate((element) =>
      [...element.querySelectorAll<HTMLElement>(".cell")]
        .filter((cell) => cell.offsetWidth > 0 && cell.scrollWidth > cell.clientWidth + 1)
        .map((cell) => cell.className),
    );
    expect(cut).toEqual([]);
    expect(await row(page, "BTC").evaluate((element) => element.scrollWidth - element.clientWidth)).toBeLessThanOrEqual(0);
    await row(page, "BTC").click();
    await page.locator("#chart-title", { hasText: /^BTC$/ }).waitFor();
    expect(await page.locator("#plot canvas").isVisible()).toBe(true);
    expect(await page.locator("#grid").isVisible()).toBe(false);
    await page.context().close();
  });
}
