import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A process per file: a crash of the addon costs one file, and says which.
    pool: 'forks',
    // What 'auto' means in tests: the processor, also where there is a GPU, unless HEDDLE_TEST_DEVICES asks for one alone.
    env: { HEDDLE_DEVICE: process.env.HEDDLE_DEVICE ?? (process.env.HEDDLE_TEST_DEVICES === 'cuda' ? 'cuda' : 'cpu') },
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 300_000,
    teardownTimeout: 30_000,
  },
});
