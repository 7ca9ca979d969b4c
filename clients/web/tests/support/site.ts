/**
 * Where the built page comes from in a test: the gateway itself if it can serve a folder, else a small server with the same
 * policy, and the page is told the gateway's address.
 */

import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { policy } from "../../policy.ts";
import type { Stage } from "./stage.ts";

/** The built page. */
export const DIST = process.env.ODIN_WEB_DIST ?? fileURLToPath(new URL("../../dist", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

function gatewayServesFiles(): boolean {
  const help = execFileSync(process.env.ODIN_GATEWAY ?? "ws-gateway", ["serve", "--help"], { encoding: "utf8" });
  return help.includes("--http-files");
}

/** Whether the gateway under test serves the page itself. */
export const SERVED_BY_GATEWAY = gatewayServesFiles();

/** Options with which the gateways of a stage serve the page, if they can. */
export const FILE_OPTIONS: readonly string[] = SERVED_BY_GATEWAY ? ["--http-files", DIST] : [];

/** Address of the page for a stage, and how to end what serves it. */
export class Site {
  readonly url: string;
  /** Origins that the page may talk to. */
  readonly origins: readonly string[];
  readonly #server: Server | null;

  private constructor(url: string, origins: readonly string[], server: Server | null) {
    this.url = url;
    this.origins = origins;
    this.#server = server;
  }

  /** Serves the page for `stage`. */
  static async start(stage: Stage): Promise<Site> {
    const gateway = [`http://${stage.balancer}`, `ws://${stage.balancer}`];
    if (SERVED_BY_GATEWAY) return new Site(`http://${stage.balancer}/`, gateway, null);
    const server = createServer((request, response) => {
      const path = normalize(new URL(request.url ?? "/", "http://page").pathname);
      const file = join(DIST, path === "/" ? "index.html" : path);
      readFile(file).then(
        (body) => {
          const type = TYPES[extname(file)] ?? "application/octet-stream";
          response.writeHead(200, { "Content-Type": type, "Content-Security-Policy": policy() }).end(body);
        },
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new Site(`${origin}/?gateway=ws://${stage.balancer}`, [origin, ...gateway], server);
  }

  /** Ends it. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
