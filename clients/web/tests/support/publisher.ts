/**
 * The simulator, where a test needs more of it than the stage offers.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import type { Stage } from "./stage.ts";

/** `ODIN_PUBLISHER`, or the program beside that of the stage. */
const PUBLISHER = process.env.ODIN_PUBLISHER ?? join(dirname(process.env.ODIN_DEVKIT ?? "/usr/bin/odin-devkit"), "odin-publisher");

/**
 * Publishes prices of `tokens` tokens in turns, `rate` a second in all.
 *
 * @returns ends it
 */
export function simulate(stage: Stage, tokens: number, rate: number): () => Promise<void> {
  const args = ["simulate", "--tokens", String(tokens), "--rate", String(rate), "--kinds", "price", "--spread", "0"];
  const child = spawn(PUBLISHER, [...args, "--nats-url", stage.ready.nats, "--log-level", "error"], { stdio: "ignore" });
  return async () => {
    if (child.exitCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  };
}
