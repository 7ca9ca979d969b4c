/**
 * A browser that nobody watches. Playwright listens to every message of a WebSocket, which costs more than the page itself;
 * what is measured here is spoken to through a pipe, and asked for figures only.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { ARGUMENTS, CHROMIUM } from "./browser.ts";

type Answer = Readonly<Record<string, unknown>>;

/** One tab of a browser of its own. */
export class PlainTab {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  #next = 1;
  #session: string | undefined;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    let left = "";
    (child.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const parts = (left + text).split("\0");
      left = parts.pop() ?? "";
      for (const part of parts) this.#take(JSON.parse(part) as Answer);
    });
  }

  /** Starts a browser with a new profile and opens `url`. */
  static async open(url: string): Promise<PlainTab> {
    const folder = mkdtempSync(join(tmpdir(), "odin-browser-"));
    const args = [...ARGUMENTS, "--remote-debugging-pipe", "--window-size=1280,800", `--user-data-dir=${folder}`, "about:blank"];
    const child = spawn(CHROMIUM, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const tab = new PlainTab(child, folder);
    const { targetId } = await tab.send("Target.createTarget", { url });
    const { sessionId } = await tab.send("Target.attachToTarget", { targetId, flatten: true });
    tab.#session = String(sessionId);
    await tab.send("Performance.enable");
    return tab;
  }

  /** Gives a command of the DevTools protocol and waits for its result. */
  async send(method: string, params: object = {}): Promise<Answer> {
    return this.#send(method, params, this.#session);
  }

  /** The same, of the whole browser. */
  async browser(method: string): Promise<Answer> {
    return this.#send(method, {}, undefined);
  }

  async #send(method: string, params: object, session: string | undefined): Promise<Answer> {
    const id = this.#next++;
    const answer = new Promise<Answer>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    const message = { id, method, params, ...(session === undefined ? {} : { sessionId: session }) };
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return answer;
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    return (result as { value?: unknown }).value;
  }

  /** `Performance.getMetrics` by name. */
  async metrics(): Promise<Record<string, number>> {
    const { metrics } = await this.send("Performance.getMetrics");
    return Object.fromEntries((metrics as { name: string; value: number }[]).map(({ name, value }) => [name, value]));
  }

  /** Ends the browser. */
  async close(): Promise<void> {
    const gone = once(this.#child, "exit");
    void this.browser("Browser.close").catch(() => undefined);
    await gone;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #take(message: Answer): void {
    const waiting = this.#waiting.get(Number(message.id));
    if (waiting === undefined) return;
    this.#waiting.delete(Number(message.id));
    if (message.error === undefined) waiting.resolve((message.result ?? {}) as Answer);
    else waiting.reject(new Error(JSON.stringify(message.error)));
  }
}
