// `heddle train` over the small model of the tests, in a process of its own: for what ends processes.
// BIGRAM_MODULE: bigram_model.ts compiled; BIGRAM_DELAY: milliseconds that each micro-batch takes longer.
import { setTimeout as delay } from 'node:timers/promises';
import { exitCodeOf, reportError } from '../../dist/lib/cli/output.js';
import { trainCommand } from '../../dist/lib/cli/train_command.js';

const { openBigram } = await import(process.env.BIGRAM_MODULE);
const milliseconds = Number(process.env.BIGRAM_DELAY ?? 0);
const hooks = { onAccumulate: async () => (milliseconds > 0 ? delay(milliseconds, 0) : 0) };
try {
  await trainCommand(openBigram(hooks)).parseAsync(process.argv.slice(2), { from: 'user' });
} catch (error) {
  reportError(error, process.argv.includes('--json'));
  process.exitCode = exitCodeOf(error);
}
