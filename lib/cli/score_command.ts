import { Command } from 'commander';
import { scoreSchema } from '../engine/generate_options.js';
import { interruptSignal } from './interrupt.js';
import { type ModelFlags, mustGive, openModel, withModel } from './model_options.js';
import { printJson } from './output.js';
import { readRequests } from './request_lines.js';
import { runRequests } from './request_outcomes.js';
import { statsOf } from './stats.js';
import { formatTable } from './table.js';

interface ScoreFlags extends ModelFlags {
  input: string;
}

const header = ['id', 'adapter', 'tokens', 'nll', 'perplexity'];

/** `heddle score`: log-probabilities and perplexity of texts. */
export function scoreCommand(): Command {
  return mustGive(withModel(new Command('score')), 'input')
    .description('log-probabilities and perplexity of texts, each under its own adapter, in shared steps')
    .option('-i, --input <file>', 'JSONL: {"id", "text" or "tokens", "adapter"} per line; - for standard input')
    .addHelpText(
      'after',
      `
Every line of the input is a request:
  id       comes back with the answer (default: the line number)
  text     what to score, or tokens: its token ids
  adapter  the name of an --adapter, {"name", "scale"}, or a list of these (default, and null: the bare model)

The output is a table: the tokens predicted (all but the first), nll (the sum of their negative log-probabilities) and perplexity (e to its mean).
With --json it is a line per request {"id", "adapter", "tokens", "logprobs", "count", "nll", "perplexity"} in the order of the input, then {"stats"}.
logprobs are natural logarithms of each token's probability given those before it; the first is null.

Example:
  printf '{"text":"Call me Ishmael."}\\n' | heddle score --model ./llama --input -`,
    )
    .action(async (flags: ScoreFlags) => {
      const json = flags.json === true;
      const lines = await readRequests(flags.input, scoreSchema);
      const signal = interruptSignal();
      const model = await openModel(flags, signal);
      const rows: (string | number)[][] = [];
      try {
        await runRequests(lines, {
          label: 'scoring',
          json,
          signal,
          run: (request) => model.score(request, { signal }),
          show: ({ id, adapter }, score) => {
            if (json) printJson({ id, adapter, ...score });
            else
              rows.push([
                id,
                adapterLabel(adapter),
                score.count,
                score.nll.toFixed(3),
                score.count === 0 ? '' : score.perplexity.toFixed(3),
              ]);
          },
        });
        if (json) printJson({ stats: statsOf(model) });
        else if (rows.length > 0)
          process.stdout.write(`${formatTable(rows, { header, align: ['left', 'left', 'right', 'right', 'right'] })}\n`);
      } finally {
        model.dispose();
      }
    });
}

/** The adapter of a request, as a person reads it. */
export function adapterLabel(adapter: unknown): string {
  if (adapter === null || adapter === undefined) return '(base)';
  if (Array.isArray(adapter)) return adapter.map(adapterLabel).join(' + ') || '(base)';
  if (typeof adapter !== 'object') return String(adapter);
  const { name, scale } = adapter as { name?: unknown; scale?: unknown };
  return scale === undefined ? String(name) : `${scale} × ${name}`;
}
