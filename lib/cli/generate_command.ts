import { Command } from 'commander';
import type { GenerateRequest } from '../engine/generate_options.js';
import type { Completion, Model } from '../engine/model.js';
import { OptionError } from '../errors.js';
import { decimal, interruptSignal, type ModelFlags, openModel, wholeNumber, withModel } from './model_options.js';
import { errorJson, printJson, reportError } from './output.js';
import { ProgressBar } from './progress.js';
import { type RequestLine, readRequests } from './request_lines.js';
import { statsOf } from './stats.js';

interface GenerateFlags extends ModelFlags {
  input?: string;
  prompt?: string;
  use?: string;
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  seed?: number;
  stop?: string[];
}

/** `heddle generate`: continues one prompt as it streams, or many from a file in shared steps. */
export function generateCommand(): Command {
  return withModel(new Command('generate'))
    .description('continue a prompt, or every request of a file in shared steps')
    .option('-i, --input <file>', 'JSONL: {"id", "prompt", "messages" or "tokens", "adapter", "maxTokens", …} per line; - for standard input')
    .option('-p, --prompt <text>', 'one prompt, streamed to standard output')
    .option('-u, --use <adapter>', 'adapter for --prompt (default: the bare model)')
    .option('-n, --max-tokens <n>', 'tokens to generate at most', wholeNumber)
    .option('-t, --temperature <x>', '0: always the most likely token (default: 1)', decimal)
    .option('--top-p <x>', 'smallest set of likely tokens with this probability', decimal)
    .option('--top-k <n>', 'the n most likely tokens', wholeNumber)
    .option('--seed <n>', 'same seed, same text', wholeNumber)
    .option('--stop <text...>', 'strings that end the answer')
    .addHelpText('after', '\nOptions given here are defaults for the requests of --input. With --json every request gives {"id", "adapter", "tokens", "text", "finishReason"}; the last line is {"stats"}.')
    .action(async (flags: GenerateFlags) => {
      if ((flags.input === undefined) === (flags.prompt === undefined)) throw new OptionError('generate: give one of --input and --prompt');
      const common = definedOnly({ maxTokens: flags.maxTokens, temperature: flags.temperature, topP: flags.topP, topK: flags.topK, seed: flags.seed, stop: flags.stop });
      const requests: RequestLine[] =
        flags.input === undefined ? [{ id: '1', line: 1, request: definedOnly({ prompt: flags.prompt, adapter: flags.use }) }] : await readRequests(flags.input);
      const signal = interruptSignal();
      const model = await openModel(flags, signal);
      try {
        const merged = requests.map((line) => ({ ...line, request: { ...common, ...line.request } }));
        if (flags.prompt !== undefined && !flags.json) await streamOne(model, merged[0]?.request as GenerateRequest, signal);
        else await generateAll(model, merged, flags.json === true, signal);
      } finally {
        model.dispose();
      }
    });
}

function definedOnly(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

async function streamOne(model: Model, request: GenerateRequest, signal: AbortSignal): Promise<void> {
  for await (const piece of model.generate(request, { signal })) process.stdout.write(piece.text);
  process.stdout.write('\n');
}

async function generateAll(model: Model, requests: readonly RequestLine[], json: boolean, signal: AbortSignal): Promise<void> {
  const bar = new ProgressBar({ label: 'generating', total: requests.length });
  let done = 0;
  await Promise.all(
    requests.map(async ({ id, request }) => {
      const adapter = request.adapter ?? null;
      try {
        const completion = await model.complete(request as GenerateRequest, { signal });
        if (json) printJson({ id, adapter, ...answer(completion, request) });
        else process.stdout.write(`── ${id}${adapter === null ? '' : ` · ${JSON.stringify(adapter)}`} ──\n${completion.text}\n\n`);
      } catch (error) {
        if (signal.aborted) throw error;
        // A bad request fails alone: the others are worth having.
        process.exitCode = 1;
        if (json) printJson({ id, adapter, error: errorJson(error) });
        else reportError(error, false);
      }
      bar.update(++done);
    }),
  );
  bar[Symbol.dispose]();
  if (json) printJson({ stats: statsOf(model) });
}

function answer(completion: Completion, request: Record<string, unknown>): Record<string, unknown> {
  const { tokens, text, finishReason, logprobs } = completion;
  const wanted = typeof request.topLogprobs === 'number' && request.topLogprobs > 0;
  return { tokens, text, finishReason, ...(wanted ? { logprobs } : {}) };
}
