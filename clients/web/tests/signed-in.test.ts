/** Those who have signed in see signals and their notifications; nobody sees the token. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { waitForPrice, waitForStatus } from "./support/browser.ts";
import { Scene } from "./support/scene.ts";
import { mint, signIn } from "./support/token.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start({ rate: 0 });
});

afterAll(async () => scene.end());

test("signals and notifications come to who has signed in, and go with the user", async () => {
  const { stage } = scene;
  await stage.price("BTC", 100);
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await page.getByText("Sign in to see signals").first().waitFor();
  await signIn(page, mint("ada"));
  await page.locator("#user", { hasText: /^ada$/ }).waitFor();
  await waitForStatus(page, /^Live$/);
  await page.locator("#signals-empty", { hasText: "Nothing yet." }).waitFor();
  const signal = { type: "signal", signal: "whale", entity: "BTC", severity: "high", score: 93, direction: "up", price: 100 };
  await stage.order({ do: "publish", subject: "odin.signals.whale.BTC", data: signal });
  const row = page.locator("#signals .signal");
  await row.waitFor();
  expect(await row.innerText()).toMatch(/high[\s\S]*BTC[\s\S]*whale[\s\S]*93/);
  const note = { type: "notification", title: "order filled", text: "order 7: buy 1 <img src=x onerror=alert(1)>" };
  await stage.order({ do: "publish", subject: "odin.users.ada.notifications", data: note });
  await stage.order({ do: "publish", subject: "odin.users.eve.notifications", data: { title: "not yours", text: "" } });
  await page.getByRole("tab", { name: /Notifications/ }).click();
  await page.locator("#notifications", { hasText: "order 7: buy 1 <img src=x" }).waitFor();
  expect(await page.locator("#notifications .item").count()).toBe(1);
  await page.click("#open-sign-in");
  await page.locator("#sign-in-state", { hasText: "Signed in as ada" }).waitFor();
  await page.click("#sign-out");
  await page.locator("#user", { hasText: /^Sign in$/ }).waitFor();
  expect(await page.locator("#notifications .item").count()).toBe(0);
  await page.context().close();
});

/** Checklist 17: the token is nowhere but in memory and in the message that signs in. */
test("the token is in no storage, address, title, log or element", async () => {
  const page = await scene.open();
  const token = mint("grace");
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("request", (request) => said.push(request.url()));
  await waitForStatus(page, /^Live$/);
  await signIn(page, token);
  await page.locator("#user", { hasText: /^grace$/ }).waitFor();
  const kept = await page.evaluate(() =>
    [
      JSON.stringify({ ...localStorage }),
      JSON.stringify({ ...sessionStorage }),
      document.cookie,
      location.href,
      document.title,
      document.documentElement.outerHTML,
      ...[...document.querySelectorAll("input")].map((input) => input.value),
    ].join("\n"),
  );
  expect(kept + said.join("\n")).not.toContain(token.slice(-43));
  await page.reload();
  await waitForStatus(page, /^Live$/);
  expect(await page.locator("#user").innerText()).toBe("Sign in");
  await page.context().close();
});

/** Checklist 13: a token that somebody else signed. */
test("a token that is refused is given up, said so, and prices go on without", async () => {
  const page = await scene.open();
  await waitForStatus(page, /^Live$/);
  await signIn(page, mint("eve", "another-secret-of-thirty-two-bytes"));
  await page.locator("#notice", { hasText: /Not signed in: / }).waitFor();
  await page.locator("#user", { hasText: /^Sign in$/ }).waitFor();
  await waitForStatus(page, /^Live$/);
  await scene.stage.price("STILL", 7);
  await waitForPrice(page, "STILL", "7.0000");
  await page.context().close();
});
