/** Two hundred tokens with twenty updates a second each. */

import type { CDPSession } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { counter, waitForStatus } from "./support/browser.ts";
import { simulate } from "./support/publisher.ts";
import { Scene } from "./support/scene.ts";

const SECONDS = 10;

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
});

afterAll(async () => scene.end());

/** Processor time of the page's main thread so far, in seconds. A busy host makes it wait, and adds nothing to it. */
async function used(session: CDPSession): Promise<number> {
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find((metric) => metric.name === "TaskDuration")?.value ?? Number.NaN;
}

test("at 4,000 updates a second the page goes on drawing, and half a core is enough for it", async () => {
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  const stop = simulate(scene.stage, 200, 4_000);
  await page.locator("#table-count", { hasText: /^200$/ }).waitFor();
  await expect.poll(() => counter(page, "Updates/s"), { timeout: 30_000 }).toBeGreaterThan(1_000);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const before = await used(session);
  const found = await page.evaluate(async (seconds) => {
    const tasks: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) tasks.push(entry.duration);
    });
    observer.observe({ type: "longtask" });
    let written = 0;
    const mutations = new MutationObserver((records) => {
      written += records.length;
    });
    const body = document.querySelector("#grid-body");
    if (body !== null) mutations.observe(body, { subtree: true, childList: true, characterData: true });
    const frames: number[] = [];
    const begin = performance.now();
    while (performance.now() - begin < seconds * 1_000) {
      frames.push(await new Promise<number>(requestAnimationFrame));
    }
    observer.disconnect();
    mutations.disconnect();
    const gaps = frames.slice(1).map((time, at) => time - (frames[at] ?? time));
    return { frames: frames.length, longest: Math.max(...gaps), tasks, written };
  }, SECONDS);
  const cpu = (await used(session)) - before;
  const blocked = found.tasks.reduce((sum, task) => sum + task, 0);
  console.log(
    `${SECONDS} s at ${await counter(page, "Updates/s")} updates/s: ${found.frames} frames, ${cpu.toFixed(2)} s of processor time, longest wait ${found.longest.toFixed(0)} ms, ` +
      `${found.tasks.length} long tasks of ${blocked.toFixed(0)} ms, ${found.written} cells written`,
  );
  expect(found.frames).toBeGreaterThan(SECONDS * 5);
  expect(found.written).toBeGreaterThan(SECONDS * 20);
  expect(cpu).toBeGreaterThan(0);
  expect(cpu).toBeLessThan(SECONDS / 2);
  expect(await counter(page, "Gaps")).toBe(0);
  expect(await page.locator("#grid-body .row").count()).toBeLessThan(60);
  await stop();
  await page.context().close();
});
