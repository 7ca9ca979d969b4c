/**
 * A browser that talks to this machine only.
 */

import { type Browser, chromium, type Locator, type Page } from "playwright-core";

/** Chromium: `CHROMIUM`, else Debian's. */
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** How it is started: without a screen, and without a word to anybody. */
export const ARGUMENTS: readonly string[] = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // letters in shades of one colour: pictures are smaller
  "--disable-lcd-text",
];

/** Starts it with a new profile. */
export async function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: [...ARGUMENTS] });
}

/** How a page is opened. */
export interface Screen {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  readonly reducedMotion?: boolean;
  readonly touch?: boolean;
}

/** Opens a page in a profile of its own, on a screen of 1280 by 800. */
export async function open(browser: Browser, url: string, screen: Screen = {}): Promise<Page> {
  const { width = 1280, height = 800, dark = false, reducedMotion = false, touch = false } = screen;
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: reducedMotion ? "reduce" : "no-preference",
    hasTouch: touch,
    ...(touch ? { deviceScaleFactor: 2 } : {}),
  });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** Waits until the bar on top says `title`, which may be its beginning. */
export async function waitForStatus(page: Page, title: RegExp, timeout = 30_000): Promise<void> {
  await page.locator("#status-title", { hasText: title }).waitFor({ timeout });
}

/** The number of a counter of the page. */
export async function counter(page: Page, name: string): Promise<number> {
  const value = page.locator("#counters > div", { has: page.getByText(name, { exact: true }) }).locator("dd");
  return Number((await value.innerText()).replaceAll(/[^0-9.]/g, ""));
}

/** The row of a token in the table. */
export function row(page: Page, token: string): Locator {
  return page.locator("#grid-body .row", { has: page.getByRole("rowheader", { name: token, exact: true }) });
}

/** Waits until the table shows this price for a token. */
export async function waitForPrice(page: Page, token: string, price: string, timeout = 30_000): Promise<void> {
  await row(page, token).locator(".price", { hasText: price }).waitFor({ timeout });
}
