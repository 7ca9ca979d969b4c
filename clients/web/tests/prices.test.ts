/** What the page is for: prices that move, and how old they are. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { row, waitForPrice, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
});

afterAll(async () => scene.end());

test("a price moves on the page as it is published, with its direction in words of shape and not of colour alone", async () => {
  await scene.stage.price("BTC", 64_250.5);
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await waitForPrice(page, "BTC", "64,250.50");
  await scene.stage.price("BTC", 64_251.75);
  await waitForPrice(page, "BTC", "64,251.75");
  await row(page, "BTC").locator(".arrow", { hasText: "▲" }).waitFor();
  await scene.stage.price("BTC", 64_000);
  await waitForPrice(page, "BTC", "64,000.00");
  await row(page, "BTC").locator(".arrow", { hasText: "▼" }).waitFor();
  expect(await page.title()).toContain("odin");
  await page.context().close();
});

test("a snapshot is as old as the stream says, and an old price is marked", async () => {
  await scene.stage.price("OLD", 1.5);
  const page = await scene.open();
  await waitForPrice(page, "OLD", "1.5000");
  await page.evaluate(() => localStorage.setItem("odin.settings", JSON.stringify({ oldAfterS: 10 })));
  await page.reload();
  await page.locator("#grid-body .row.old .age", { hasText: "s" }).first().waitFor();
  await page.context().close();
});

test("a token in the filter is found, and the chosen one is in the chart", async () => {
  await scene.stage.price("ETH", 3_180.25);
  const page = await scene.open();
  await waitForPrice(page, "ETH", "3,180.25");
  await page.fill("#filter", "et");
  await page.locator("#table-count", { hasText: /^1 of / }).waitFor();
  await row(page, "ETH").click();
  await page.locator("#chart-title", { hasText: /^ETH$/ }).waitFor();
  await page.locator("#chart-price", { hasText: "3,180.25" }).waitFor();
  await page.reload();
  await page.locator("#chart-title", { hasText: /^ETH$/ }).waitFor();
  await page.context().close();
});

test("the chart of a page that was just opened begins with what was before it", async (context) => {
  const { stage } = scene;
  const url = `http://${stage.balancer}/v1/channels/price:PAST/history?since=${Date.now() - 60_000}`;
  await stage.price("PAST", 5);
  context.skip((await fetch(url)).status !== 200, "this gateway has no history by time");
  for (const price of [9, 7]) {
    await new Promise((resolve) => setTimeout(resolve, 600));
    await stage.price("PAST", price);
  }
  const page = await scene.open();
  await row(page, "PAST").click();
  await page.locator("#chart-facts", { hasText: /Low\s*5\.0000\s*High\s*9\.0000/ }).waitFor();
  await page.context().close();
});

/** Checklist 50: a publisher's clock is an hour ahead, or a day behind. */
test("a wrong clock is called clock skew and is no latency", async () => {
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await scene.stage.price("SKEW", 1, Date.now() + 3_600_000);
  await page.locator("#skew", { hasText: /clock skew: .* ahead of this one/ }).waitFor();
  await scene.stage.price("SKEW", 2, Date.now() - 86_400_000);
  await page.locator("#skew", { hasText: /clock skew: .* behind this one/ }).waitFor();
  const facts = await page.locator("#latency-facts dd").allInnerTexts();
  expect(facts.join(" ")).not.toMatch(/min|h|d/);
  await page.context().close();
});

/** Checklist 49: what a publisher sends is not what it should be. */
test("payloads of any shape are counted or shown as text, and break nothing", async () => {
  const page = await scene.open();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await waitForStatus(page, /^Live$/);
  const hostile = [7, "price", [], {}, { price: "1" }, { price: null }, { price: 1, timestamp: -1e300, volume24h: "x" }];
  for (const data of hostile) {
    await scene.stage.order({ do: "publish", subject: "odin.tokens.EVIL.price", data });
  }
  await waitForPrice(page, "EVIL", "1.0000");
  for (const kind of ["summary", "volume", "sentiment", "statistics", "status"]) {
    const data = { topGainer: "<b>", advancing: -5, score: 1e9, label: "<img src=x onerror=alert(1)>", status: ["x"] };
    await scene.stage.order({ do: "publish", subject: `odin.market.${kind}`, data });
  }
  await page.locator("#strip", { hasText: "<img src=x onerror" }).waitFor();
  await scene.stage.price("EVIL", 2);
  await waitForPrice(page, "EVIL", "2.0000");
  expect(errors).toEqual([]);
  await page.context().close();
});

test("settings are remembered, and MessagePack brings the same prices", async () => {
  await scene.stage.price("BTC", 64_300);
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await page.click("#open-settings");
  await page.selectOption("#set-codec", "msgpack");
  await page.fill("#set-channels", "price:BTC, price:ETH");
  await page.click("#settings-form .primary");
  await page.locator("#status-connection", { hasText: "MessagePack" }).waitFor();
  await waitForPrice(page, "BTC", "64,300.00");
  await page.reload();
  await page.locator("#status-connection", { hasText: "MessagePack" }).waitFor();
  await scene.stage.price("BTC", 64_301);
  await waitForPrice(page, "BTC", "64,301.00");
  await page.context().close();
});
