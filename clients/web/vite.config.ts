import { fileURLToPath } from "node:url";
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

export default defineConfig({
  // relative addresses: the folder may be served under any path
  base: "./",
  resolve: {
    alias: { "@odin/client": fileURLToPath(new URL("../typescript/src/index.ts", import.meta.url)) },
  },
  build: {
    target: "es2022",
    // nothing becomes a data: address, which the policy forbids
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    proxy: process.env.ODIN_GATEWAY_URL
      ? {
          "/ws": { target: process.env.ODIN_GATEWAY_URL, ws: true },
          "/v1": { target: process.env.ODIN_GATEWAY_URL },
        }
      : {},
  },
  plugins: [contentSecurityPolicy()],
});
