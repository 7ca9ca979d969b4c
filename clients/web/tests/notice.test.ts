/** What operators tell everybody. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";

const TOKEN = "a-token-for-the-operators";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0, gatewayOptions: ["--admin-token", TOKEN] });
});

afterAll(async () => scene.end());

/** Checklist 60: text that is markup. */
test("a notice stays on the page as text until it is dismissed", async () => {
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  const message = "maintenance at 22:00 UTC <script>alert(1)</script>";
  const answer = await fetch(`http://${scene.stage.ready.gateways[0]?.admin}/v1/broadcast`, {
    method: "POST",
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" },
    body: JSON.stringify({ message }),
  });
  expect(answer.ok).toBe(true);
  await page.locator("#notice", { hasText: message }).waitFor();
  await page.locator("#events", { hasText: "maintenance at 22:00 UTC" }).waitFor();
  await page.getByRole("button", { name: "Dismiss the notice" }).click();
  expect(await page.locator("#notice").isVisible()).toBe(false);
  await page.context().close();
});
