import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['tests/*.test.ts'] } },
      // real gateways, started once for each file: ODIN_DEVKIT and ODIN_GATEWAY say which
      {
        test: {
          name: 'real',
          include: ['tests/real/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
