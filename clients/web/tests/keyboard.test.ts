/** The page without a pointer. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

let scene: Scene;
let page: Page;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
  for (let token = 1; token <= 60; token += 1) {
    await scene.stage.price(`T${String(token).padStart(2, "0")}`, token);
  }
  page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await page.locator("#table-count", { hasText: /^60$/ }).waitFor();
});

afterAll(async () => scene.end());

/** The text of the row that the keyboard is at. */
async function active(): Promise<string> {
  const id = await page.locator("#grid").getAttribute("aria-activedescendant");
  return page.locator(`#${id} .name`).innerText();
}

test("the first stop is a link to the prices", async () => {
  await page.keyboard.press("Tab");
  await page.getByRole("link", { name: "Skip to the prices" }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.className)).toBe("skip");
  await page.keyboard.press("Enter");
  await page.keyboard.press("ArrowDown");
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("grid");
});

test("arrows, page keys, Home and End walk through rows that do not exist until they are seen", async () => {
  await page.focus("#grid");
  await page.getByRole("button", { name: "Token" }).click();
  await page.focus("#grid");
  await page.keyboard.press("Home");
  await expect.poll(active).toBe("T01");
  await page.keyboard.press("ArrowDown");
  await expect.poll(active).toBe("T02");
  await page.keyboard.press("End");
  await expect.poll(active).toBe("T60");
  await page.keyboard.press("PageUp");
  await expect.poll(active).not.toBe("T60");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.locator("#chart-title", { hasText: /^T03$/ }).waitFor();
  expect(await page.locator('#grid-body [aria-selected="true"] .name').innerText()).toBe("T03");
  expect(await page.locator("#grid-body .row").count()).toBeLessThan(60);
  expect(await page.locator("#grid").getAttribute("aria-rowcount")).toBe("61");
});

test("a slash filters, Escape clears, sorting is told", async () => {
  await page.focus("#grid");
  await page.keyboard.press("/");
  await page.keyboard.type("t5");
  await page.locator("#table-count", { hasText: /^10 of 60$/ }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#table-count", { hasText: /^60$/ }).waitFor();
  const price = page.getByRole("columnheader", { name: "Price" });
  await price.getByRole("button").focus();
  await page.keyboard.press("Enter");
  expect(await price.getAttribute("aria-sort")).toBe("descending");
  await page.keyboard.press("Enter");
  expect(await price.getAttribute("aria-sort")).toBe("ascending");
});

test("windows open, keep the focus and give it back; single keys can be switched off", async () => {
  await page.focus("#open-settings");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Settings" }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.closest("dialog")?.id)).toBe("settings");
  await page.keyboard.press("Escape");
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("open-settings");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await waitForStatus(page, /^Disconnected$/);
  await page.keyboard.press("s");
  await page.uncheck("#set-keys");
  await page.getByRole("button", { name: "Save" }).press("Enter");
  await page.keyboard.press("c");
  await page.keyboard.press("t");
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("auto");
  await waitForStatus(page, /^Disconnected$/);
  await page.focus("#toggle");
  await page.keyboard.press("Enter");
  await waitForStatus(page, /^Live$/);
});

test("every stop of the Tab key can be seen", async () => {
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  const unseen: string[] = [];
  for (let stop = 0; stop < 40; stop += 1) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return null;
      const style = getComputedStyle(element);
      const seen = style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2;
      return { name: element.id || element.textContent || element.tagName, seen };
    });
    if (found === null) break;
    if (!found.seen) unseen.push(found.name);
  }
  expect(unseen).toEqual([]);
});
