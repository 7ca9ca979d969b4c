/** What axe-core finds, in every state of the page and both themes. */

import axe from "axe-core";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";
import { mint, signIn } from "./support/token.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 60 });
});

afterAll(async () => scene.end());

/** What axe finds, one line for each element. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const runner = (window as unknown as { axe: typeof axe }).axe;
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations: found } = await runner.run(document, { runOnly: tags });
    return found.flatMap(({ id, impact, nodes }) =>
      nodes.map((node) => `${impact} ${id}: ${node.target.join(" ")} ${node.failureSummary ?? ""}`),
    );
  });
}

for (const dark of [false, true]) {
  const theme = dark ? "dark" : "light";

  test(`connected, stale, reconnecting, closed: nothing to complain about in the ${theme} theme`, async () => {
    const { stage } = scene;
    const page = await scene.open({ dark, reducedMotion: true });
    await waitForStatus(page, /^Live$/);
    await signIn(page, mint("user-1"));
    await page.locator("#user", { hasText: "user-1" }).waitFor();
    await page.locator("#signals .signal").first().waitFor();
    expect(await violations(page), "connected").toEqual([]);
    await page.click("#open-settings");
    expect(await violations(page), "settings").toEqual([]);
    await page.keyboard.press("Escape");
    await page.click("#open-sign-in");
    expect(await violations(page), "sign in").toEqual([]);
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    expect(await violations(page), "keys").toEqual([]);
    await page.keyboard.press("Escape");
    await stage.order({ do: "stop_nats" });
    await waitForStatus(page, /^Stale$/);
    expect(await violations(page), "stale").toEqual([]);
    await stage.order({ do: "kill_gateway", index: 0 });
    await stage.order({ do: "kill_gateway", index: 1 });
    await waitForStatus(page, /^Reconnecting$/);
    expect(await violations(page), "reconnecting").toEqual([]);
    await page.getByRole("button", { name: "Disconnect" }).click();
    await waitForStatus(page, /^Disconnected$/);
    expect(await violations(page), "closed").toEqual([]);
    await stage.order({ do: "start_nats" });
    await stage.order({ do: "start_gateway", index: 0 });
    await stage.order({ do: "start_gateway", index: 1 });
    await page.context().close();
  });
}

test("nothing to complain about on a phone", async () => {
  const page = await scene.open({ width: 390, height: 844, touch: true, reducedMotion: true });
  await waitForStatus(page, /^Live$/, 60_000);
  for (const view of ["Prices", "Chart", "Delivery", "News"]) {
    await page.getByRole("button", { name: view, exact: true }).click();
    expect(await violations(page), view).toEqual([]);
  }
  await page.context().close();
});
