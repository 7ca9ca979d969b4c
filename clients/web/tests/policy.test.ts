/** The page keeps to its policy, and talks to nobody but its gateway. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { policy } from "../policy.ts";
import { waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";
import { mint, signIn } from "./support/token.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 40 });
});

afterAll(async () => scene.end());

test("no violation of the policy, no request to another origin, no error, whatever is opened", async () => {
  const context = await scene.browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.addInitScript(() => {
    const seen: string[] = [];
    Object.assign(window, { violations: seen });
    document.addEventListener("securitypolicyviolation", (event) => seen.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  const asked = new Set<string>();
  const errors: string[] = [];
  page.on("request", (request) => asked.add(new URL(request.url()).origin));
  page.on("websocket", (socket) => asked.add(new URL(socket.url()).origin));
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(scene.site.url);
  await waitForStatus(page, /^Live$/);
  await signIn(page, mint("user-1"));
  await page.locator("#signals .signal").first().waitFor();
  await page.click("#open-settings");
  await page.selectOption("#set-codec", "msgpack");
  await page.selectOption("#set-theme", "dark");
  await page.click("#settings-form .primary");
  await page.locator("#status-connection", { hasText: "MessagePack" }).waitFor();
  await waitForStatus(page, /^Live$/);
  const past = page.waitForResponse(/\/history\?/);
  await page.locator("#grid-body .row").nth(1).click();
  await past;
  await page.getByRole("button", { name: "1 min", exact: true }).click();
  await page.hover("#plot");
  expect(await page.evaluate(() => (window as unknown as { violations: string[] }).violations)).toEqual([]);
  expect(errors).toEqual([]);
  for (const origin of asked) expect(scene.site.origins).toContain(origin);
  await context.close();
});

test("the policy is in the page itself, and lets no script, style or frame in", async () => {
  const page = await scene.open();
  const meta = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute("content");
  expect(meta).toBe(policy());
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    try {
      script.textContent = "window.ran = true";
      document.body.append(script);
    } catch {
      // trusted types
    }
    return "ran" in window;
  });
  expect(ran).toBe(false);
  const html = await page.evaluate(() => document.documentElement.outerHTML);
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)/);
  expect(html).not.toMatch(/\son[a-z]+=/);
  await page.context().close();
});
