/** What the page costs, measured and printed: `npm run facts`, on a machine that does nothing else. */

import { readdirSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { PlainTab } from "./support/plain.ts";
import { simulate } from "./support/publisher.ts";
import { Scene } from "./support/scene.ts";
import { DIST } from "./support/site.ts";

const SECONDS = 20;
const VISITS = 7;

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
});

afterAll(async () => scene.end());

test("what the page weighs", () => {
  const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const ending of ["gz", "br"]) {
    const compressed = files.filter((file) => file.endsWith(`.${ending}`)).map((file) => `${kib(statSync(file).size)} ${extname(file.slice(0, -3))}`);
    const sum = files.filter((file) => file.endsWith(`.${ending}`)).reduce((total, file) => total + statSync(file).size, 0);
    console.log(`weight, ${ending}: ${kib(sum)} (${compressed.sort().join(", ")})`);
  }
});

test("how soon the first price is there", async () => {
  const stop = simulate(scene.stage, 200, 400);
  const times: number[] = [];
  for (let visit = 0; visit < VISITS; visit += 1) times.push(await firstPrice());
  await stop();
  times.sort((a, b) => a - b);
  const median = times[Math.floor(times.length / 2)] ?? NaN;
  console.log(`first price, new profile: median ${median.toFixed(0)} ms, worst ${(times.at(-1) ?? NaN).toFixed(0)} ms, of ${VISITS}`);
});

test("what 4,000 updates a second cost", { timeout: 300_000 }, async () => {
  const tab = await PlainTab.open(scene.site.url);
  await shows(tab, `document.documentElement.dataset.fresh === "yes"`);
  await load(tab, "idle");
  for (const rate of [200, 1_000, 4_000]) {
    const stop = simulate(scene.stage, 200, rate);
    await shows(tab, `document.querySelector("#table-count").textContent === "200"`);
    // the first seconds of an engine are dearer
    await sleep(10);
    const updates = await tab.evaluate(`document.querySelector("#counters dd").textContent`);
    await load(tab, `${rate} updates/s (the page says ${String(updates)})`);
    await stop();
  }
  await tab.close();
});

async function load(tab: PlainTab, name: string): Promise<void> {
  const before = await tab.metrics();
  const cpu = await processorTime(tab);
  await sleep(SECONDS);
  const after = await tab.metrics();
  const used = (await processorTime(tab)) - cpu;
  await tab.send("HeapProfiler.collectGarbage");
  const heap = (await tab.metrics()).JSHeapUsedSize ?? 0;
  const share = (metric: string): string => percent((after[metric] ?? 0) - (before[metric] ?? 0));
  console.log(
    `${name}: main thread ${share("TaskDuration")} of a core (script ${share("ScriptDuration")}, style ` +
      `${share("RecalcStyleDuration")}, layout ${share("LayoutDuration")}), its process ${percent(used)}, ` +
      `heap ${(heap / 1_048_576).toFixed(1)} MiB, ${after.Nodes} nodes`,
  );
}

/** Processor time of all renderers of the browser, seconds: those of empty tabs use none. */
async function processorTime(tab: PlainTab): Promise<number> {
  const { processInfo } = await tab.browser("SystemInfo.getProcessInfo");
  return (processInfo as { type: string; cpuTime: number }[])
    .filter(({ type }) => type === "renderer")
    .reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/** Waits until an expression is true in the page. */
async function shows(tab: PlainTab, expression: string): Promise<void> {
  while ((await tab.evaluate(expression)) !== true) await sleep(0.1);
}

async function sleep(seconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
}

/** From the beginning of the navigation to the first price in the table, milliseconds. */
async function firstPrice(): Promise<number> {
  const context = await scene.browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.addInitScript(() => {
    const observer = new MutationObserver(() => {
      if (document.querySelector("#grid-body .price")?.textContent === undefined) return;
      observer.disconnect();
      Object.assign(window, { firstPrice: performance.now() });
    });
    observer.observe(document, { childList: true, subtree: true });
  });
  const page = await context.newPage();
  await page.goto(scene.site.url);
  await page.locator("#grid-body .row").first().waitFor();
  const time = await page.evaluate(() => (window as unknown as { firstPrice: number }).firstPrice);
  await context.close();
  return time;
}

function percent(seconds: number): string {
  return `${((seconds / SECONDS) * 100).toFixed(1)} %`;
}

function kib(bytes: number): string {
  return `${(bytes / 1_024).toFixed(1)} KiB`;
}
