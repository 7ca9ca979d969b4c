import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { policy } from "./policy.ts";

/** Writes the policy into the built page. Not into the one of `vite dev`, whose own scripts would break it. */
function contentSecurityPolicy(): Plugin {
  return {
    name: "odin-content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: policy(process.env.ODIN_CONNECT_SRC) },
        injectTo: "head-prepend",
      },
    ],
  };
}

/** Lays compressed copies beside the files: the gateway serves those to browsers that take them. */
function compressed(): Plugin {
  let folder = "dist";
  return {
    name: "odin-compressed",
    apply: "build",
    configResolved: (config) => {
      folder = config.build.outDir;
    },
    closeBundle: () => {
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(entry.name)) continue;
        const file = join(entry.parentPath, entry.name);
        const body = readFileSync(file);
        if (body.length < 1_024) continue;
        writeFileSync(`${file}.gz`, gzipSync(body, { level: 9 }));
        writeFileSync(`${file}.br`, brotliCompressSync(body));
      }
    },
  };
}

export default defineConfig({
  // relative addresses: the folder may be served under any path
  base: "./",
  resolve: {
    // the client's source is taken as it is, what it needs comes from here
    dedupe: ["@msgpack/msgpack"],
    alias: { "@odin/client": fileURLToPath(new URL("../typescript/src/index.ts", import.meta.url)) },
  },
  build: {
    target: "es2022",
    // nothing becomes a data: address, which the policy forbids
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // one file: a page that stays open for days finds no others of its build when the gateways have a newer one
    rolldownOptions: { output: { codeSplitting: false } },
  },
  server: {
    proxy: process.env.ODIN_GATEWAY_URL
      ? {
          "/ws": { target: process.env.ODIN_GATEWAY_URL, ws: true },
          "/v1": { target: process.env.ODIN_GATEWAY_URL },
        }
      : {},
  },
  plugins: [contentSecurityPolicy(), compressed()],
});
