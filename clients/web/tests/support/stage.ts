/**
 * A real odin for a test: NATS, gateways and a balancer, started by `odin-devkit stage` and told what to do line by line.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Secret of the stage's gateways for tokens of tests. */
export const SECRET = "a-secret-of-32-bytes-for-the-tests";

/** Programs, by environment: `ODIN_DEVKIT`, `ODIN_GATEWAY`; else those of `PATH`. */
const DEVKIT = process.env.ODIN_DEVKIT ?? "odin-devkit";
const GATEWAY = process.env.ODIN_GATEWAY ?? "ws-gateway";

/** How a stage is set up. */
export interface StageOptions {
  readonly tokens?: number;
  /** Updates per second of a simulated market; 0: none. */
  readonly rate?: number;
  readonly gateways?: number;
  /** More options of the gateways. */
  readonly gatewayOptions?: readonly string[];
}

interface Ready {
  readonly nats: string;
  readonly balancer: string;
  readonly gateways: readonly { readonly listen: string; readonly admin: string }[];
}

/** Something to do, without `id`. */
export type Order = { readonly do: string } & Readonly<Record<string, unknown>>;

/** A running stage. */
export class Stage {
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (answer: Record<string, unknown>) => void>();
  #next = 1;
  ready: Ready = { nats: "", balancer: "", gateways: [] };

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts one, and waits until everything is there. */
  static async start(options: StageOptions = {}): Promise<Stage> {
    const { tokens = 12, rate = 60, gateways = 2, gatewayOptions = [] } = options;
    const simulate = rate > 0 ? ["--simulate", String(rate), "--tokens", String(tokens)] : [];
    const args = ["stage", "--gateway", GATEWAY, "--gateways", String(gateways), ...simulate, "--"];
    const auth = ["--auth-algorithms", "HS256", "--auth-hs256-secret", SECRET];
    const child = spawn(DEVKIT, [...args, ...auth, ...gatewayOptions], { stdio: ["pipe", "pipe", "inherit"] });
    const stage = new Stage(child);
    const lines = createInterface({ input: child.stdout });
    const first = new Promise<string>((resolve, reject) => {
      lines.once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the stage ended with ${String(code)}`)));
    });
    stage.ready = JSON.parse(await first) as Ready;
    lines.on("line", (line) => {
      const answer = JSON.parse(line) as { id?: number } & Record<string, unknown>;
      if (answer.id !== undefined) stage.#answers.get(answer.id)?.(answer);
    });
    return stage;
  }

  /** Host and port of the balancer. */
  get balancer(): string {
    return this.ready.balancer;
  }

  /**
   * Gives an order and waits for its answer.
   *
   * @throws Error with the stage's reason if it was refused
   */
  async order(order: Order): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const answer = new Promise<Record<string, unknown>>((resolve) => this.#answers.set(id, resolve));
    this.#child.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    const found = await answer;
    this.#answers.delete(id);
    if (found.ok !== true) throw new Error(`${order.do}: ${String(found.error)}`);
    return found;
  }

  /** Publishes a price, and waits until it is stored. */
  async price(token: string, price: number, timestamp = Date.now()): Promise<void> {
    const data = { type: "price:update", tokenId: token, price, volume24h: 1_000_000, priceChange24h: 1.5, timestamp };
    await this.order({ do: "publish", subject: `odin.tokens.${token}.price`, data });
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.stdin?.end();
    await gone;
  }
}
