import { defineConfig } from "vitest/config";

// The stages of the page tests are real processes with real ports: one file after the other, on any machine.
const page = { environment: "node", testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false } as const;

export default defineConfig({
  test: {
    projects: [
      { extends: "./vite.config.ts", test: { name: "unit", environment: "node", include: ["src/**/*.test.ts"] } },
      { test: { ...page, name: "page", include: ["tests/**/*.test.ts"], exclude: ["tests/facts.test.ts"] } },
      { test: { ...page, name: "facts", include: ["tests/facts.test.ts"] } },
    ],
  },
});
