/**
 * Tokens for the stage's gateways.
 */

import { createHmac } from "node:crypto";
import type { Page } from "playwright-core";
import { SECRET } from "./stage.ts";

/** A token of `sub` that is good for an hour. */
export function mint(sub: string, secret = SECRET): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1_000);
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, iat: now, exp: now + 3_600 })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

/** Signs in on the page. */
export async function signIn(page: Page, token: string): Promise<void> {
  await page.click("#open-sign-in");
  await page.fill("#token", token);
  await page.click("#sign-in-form .primary");
}
