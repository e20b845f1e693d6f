import { Command, InvalidArgumentError } from 'commander';
import { mergeFolder } from '../engine/merge_folder.js';
import { interruptSignal, throwIfInterrupted } from './interrupt.js';
import { mustGive } from './model_options.js';
import { goOnWithoutOutput, printJson } from './output.js';
import { ProgressBar } from './progress.js';

interface MergeFlags {
  model: string;
  adapter: string;
  output: string;
  scale?: number;
  json?: boolean;
}

const largestScale = 1e6;

function anyDecimal(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && Math.abs(value) <= largestScale) return value;
  throw new InvalidArgumentError(`Expected a number from -${largestScale} to ${largestScale}.`);
}

/** `heddle merge`: a model with an adapter merged in, as a folder of its own. */
export function mergeCommand(): Command {
  return mustGive(mustGive(mustGive(new Command('merge'), 'model'), 'adapter'), 'output')
    .description('write a model with an adapter merged into its weights, as a Hugging Face folder')
    .option('-m, --model <folder>', 'model folder, or org/name on the Hugging Face Hub')
    .option('-a, --adapter <folder>', 'PEFT folder, or org/name on the Hub')
    .option('-o, --output <folder>', 'folder to write: empty, or not there yet')
    .option('--scale <number>', 'multiplies what the adapter changes (default: 1)', anyDecimal)
    .option('--json', 'say the result as JSON')
    .addHelpText(
      'after',
      `
Every changed tensor is computed in float64 and rounded once to the dtype that the model has it in; all others, configuration and tokenizer are
copied. config.json comes last: a folder without it was not finished.

An adapter is refused that the model's own tensors cannot hold: prompts and prefixes, a bias where there is none, a change of one of two modules that
share a weight.

With --json the output is {"folder", "changedTensors", "tensors", "bytes"}.

Example:
  heddle merge --model ./llama --adapter ./adapters/sql --output ./llama-sql`,
    )
    .action(async ({ json, ...flags }: MergeFlags) => {
      const signal = interruptSignal();
      goOnWithoutOutput();
      const bar = new ProgressBar({ label: `merging into ${flags.output}`, unit: 'bytes' });
      try {
        const merged = await mergeFolder({ ...flags, signal, onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes) });
        bar.finish();
        if (json) printJson(merged);
        else process.stdout.write(`${merged.folder}: ${merged.changedTensors} of ${merged.tensors} tensors changed\n`);
      } catch (error) {
        throwIfInterrupted(signal);
        throw error;
      } finally {
        bar.finish();
      }
    });
}
