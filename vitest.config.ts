import { defineConfig } from 'vitest/config';

/**
 * unit, integration and e2e need nothing but npm and are `npm test`; browser and system need Debian's programs
 * (Chromium, nginx, Caddy) and run as tiers of .ci/run.
 */
const setupFiles = ['test/support/own-folder.ts'];
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          setupFiles: [...setupFiles, 'test/support/no-network.ts'],
        },
      },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], setupFiles, testTimeout: 20_000 } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          setupFiles,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
