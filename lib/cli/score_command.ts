import { Command } from 'commander';
import type { ScoreRequestOptions } from '../engine/generate_options.js';
import type { Model, Score } from '../engine/model.js';
import { interruptSignal, type ModelFlags, openModel, withModel } from './model_options.js';
import { errorJson, printJson, reportError } from './output.js';
import { ProgressBar } from './progress.js';
import { type RequestLine, readRequests } from './request_lines.js';
import { statsOf } from './stats.js';
import { formatTable } from './table.js';

/** `heddle score`: log-probabilities and perplexity of texts. */
export function scoreCommand(): Command {
  return withModel(new Command('score'))
    .description("log-probabilities and perplexity of texts, each under its own adapter, in shared steps")
    .requiredOption('-i, --input <file>', 'JSONL: {"id", "text" or "tokens", "adapter"} per line; - for standard input')
    .addHelpText(
      'after',
      `
With --json every request gives {"id", "adapter", "tokens", "logprobs", "count", "nll", "perplexity"}; the last line is {"stats"}.
logprobs are natural logarithms of each token's probability given those before it; the first is null.`,
    )
    .action(async (flags: ModelFlags & { input: string }) => {
      const requests = await readRequests(flags.input);
      const signal = interruptSignal();
      const model = await openModel(flags, signal);
      try {
        await scoreAll(model, requests, flags, signal);
      } finally {
        model.dispose();
      }
    });
}

async function scoreAll(model: Model, requests: readonly RequestLine[], flags: ModelFlags, signal: AbortSignal): Promise<void> {
  const bar = new ProgressBar({ label: 'scoring', total: requests.length });
  const rows: (string | number)[][] = [];
  let done = 0;
  // A bad request fails alone: the others are worth having.
  const outcomes = requests.map(async ({ request }) => {
    try {
      return { score: await model.score(request as ScoreRequestOptions, { signal }) };
    } catch (error) {
      return { error };
    } finally {
      bar.update(++done);
    }
  });
  for (const [i, outcome] of outcomes.entries()) {
    const { id, request } = requests[i] as RequestLine;
    const { score, error } = (await outcome) as { score?: Score; error?: unknown };
    signal.throwIfAborted();
    const adapter = (request.adapter ?? null) as string | null;
    if (score === undefined) {
      process.exitCode = 1;
      if (flags.json) printJson({ id, adapter, error: errorJson(error) });
      else reportError(error, false);
    } else if (flags.json) printJson({ id, adapter, ...score });
    else rows.push([id, adapter ?? '(base)', score.count, score.nll.toFixed(3), score.perplexity.toFixed(3)]);
  }
  bar[Symbol.dispose]();
  if (flags.json) printJson({ stats: statsOf(model) });
  else process.stdout.write(`${formatTable(rows, { header: ['id', 'adapter', 'tokens', 'nll', 'perplexity'], align: ['left', 'left', 'right', 'right', 'right'] })}\n`);
}
