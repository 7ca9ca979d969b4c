/**
 * What a token did before the page was opened, from the stream, over HTTP. It is for the eye: a chart that is not empty. A
 * gateway that has no history, or does not give it, is no trouble, and is not asked again.
 */

import type { Market } from "./model/market.ts";
import { readPrice } from "./model/payload.ts";
import type { Token } from "./model/token.ts";

/** How far back is asked for, milliseconds: the longest span of the chart. */
const BACK_MS = 15 * 60_000;
/** Updates in one answer, and answers for one token, at most. */
const LIMIT = 1_000;
const PAGES = 4;

interface Page {
  readonly cursor?: unknown;
  readonly more?: unknown;
  readonly messages?: unknown;
}

/** The gateway has no history, or does not give it. */
class Refused extends Error {}

/** Fills tokens with their past, each once. */
export class History {
  readonly #market: Market;
  readonly #filled: () => void;
  readonly #asked = new WeakSet<Token>();
  #refused = "";
  #abort: AbortController | null = null;

  /** @param filled - is called when a token has got its past */
  constructor(market: Market, filled: () => void) {
    this.#market = market;
    this.#filled = filled;
  }

  /**
   * Asks for the past of `token`, if nobody has yet. What was asked for another token is given up.
   *
   * @param socket - address of the gateway's WebSocket
   */
  want(token: Token, socket: string): void {
    const base = new URL("/v1/channels/", socket.replace(/^ws/, "http"));
    if (this.#asked.has(token) || this.#refused === base.origin) return;
    this.#asked.add(token);
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#fill(token, base, abort.signal).catch((error: unknown) => {
      if (abort.signal.aborted) this.#asked.delete(token);
      else if (error instanceof Refused) this.#refused = base.origin;
    });
  }

  async #fill(token: Token, base: URL, signal: AbortSignal): Promise<void> {
    const offset = this.#market.offset;
    // as much as fits into the answers, so that what comes ends where the page's own line begins
    const back = Math.min(BACK_MS, ((LIMIT * PAGES) / Math.max(0.1, token.rate.perSecond)) * 800);
    const times: number[] = [];
    const values: number[] = [];
    let since = String(Math.round(Date.now() - offset - back));
    let more = true;
    for (let page = 0; page < PAGES && more; page += 1) {
      const url = new URL(`${base.href}price:${encodeURIComponent(token.name)}/history`);
      url.search = new URLSearchParams({ since, limit: String(LIMIT) }).toString();
      const answer = await fetch(url, { signal, credentials: "omit", referrerPolicy: "no-referrer" });
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) throw new Refused();
      if (!answer.ok) return;
      const found = (await answer.json()) as Page;
      for (const { time, value } of readPage(found)) {
        times.push(time + offset);
        values.push(value);
      }
      more = found.more === true && typeof found.cursor === "string";
      since = String(found.cursor);
    }
    const last = times.at(-1);
    if (last === undefined) return;
    if (more) {
      times.push(last + 1);
      values.push(NaN);
    }
    token.points.prepend(times, values);
    token.version += 1;
    this.#filled();
  }
}

/** The prices of an answer that can be read, with the stream's time. */
function readPage(page: Page): { time: number; value: number }[] {
  if (!Array.isArray(page.messages)) return [];
  const found: { time: number; value: number }[] = [];
  let last = -Infinity;
  for (const message of page.messages as Record<string, unknown>[]) {
    if (typeof message !== "object" || message === null || message.type !== "update") continue;
    const price = readPrice(message.data);
    const time = message.ts;
    if (price === null || typeof time !== "number" || !(time >= last)) continue;
    last = time;
    found.push({ time, value: price.price });
  }
  return found;
}
