import { Command } from 'commander';
import { type GenerateRequest, generateSchema } from '../engine/generate_options.js';
import type { Completion, Model } from '../engine/model.js';
import { didYouMean } from '../runtime/suggest.js';
import { interruptSignal, throwIfInterrupted } from './interrupt.js';
import { decimal, type ModelFlags, openModel, wholeNumber, withModel } from './model_options.js';
import { printJson, printText } from './output.js';
import { type RequestLine, readRequests } from './request_lines.js';
import { runRequests } from './request_outcomes.js';
import { adapterLabel } from './score_command.js';
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
    .option(
      '-i, --input <file>',
      'JSONL: {"id", "prompt", "messages" or "tokens", "adapter", "maxTokens", …} per line; - for standard input',
    )
    .option('-p, --prompt <text>', 'one prompt, streamed to standard output')
    .option('-u, --use <name>', 'adapter for --prompt (default: the bare model)')
    .option('-n, --max-tokens <n>', 'tokens to generate at most (default: as many as the context holds)', wholeNumber(1))
    .option('-t, --temperature <x>', '0: always the most likely token (default: 1)', decimal(0, 100))
    .option('--top-p <x>', 'smallest set of likely tokens with this probability (default: 1)', decimal(0, 1))
    .option('--top-k <n>', 'the n most likely tokens (default: all)', wholeNumber())
    .option('--seed <n>', 'same seed, same text (default: random)', wholeNumber())
    .option('--stop <text...>', 'strings that end the answer and are not part of it')
    .addHelpText(
      'after',
      `
Every line of --input is a request:
  id        comes back with the answer (default: the line number)
  prompt    text to continue, or messages: [{"role", "content"}, …], or tokens: token ids
  adapter   the name of an --adapter, {"name", "scale"}, or a list of these (default, and null: the bare model)
  maxTokens, temperature, topP, topK, minP, seed, stop, stopTokens, ignoreEos, logitBias, topLogprobs,
  repetitionPenalty, frequencyPenalty, presencePenalty
Options of the command line are defaults for all of them. Requests with different adapters run in the same steps.

With --json the output is a line per request {"id", "adapter", "tokens", "text", "finishReason"} in the order of the input, then {"stats"}.
A request that fails has {"id", "adapter", "error": {"code", "message"}} instead; the others go on, and the exit code is 1.

Examples:
  heddle generate --model ./llama --adapter sql=./sql --prompt "List all customers" --use sql
  heddle generate --model ./llama --adapter a=./a --adapter b=./b --input requests.jsonl --json`,
    )
    .action(async (flags: GenerateFlags, command: Command) => {
      checkUsage(flags, command);
      const lines = flags.input === undefined ? [] : await readRequests(flags.input, generateSchema);
      const signal = interruptSignal();
      const model = await openModel(flags, signal);
      try {
        if (flags.prompt === undefined) await generateAll(model, lines, flags, signal);
        else if (flags.json) await generateAll(model, [promptLine(flags)], flags, signal);
        else await stream(model, { ...defaultsOf(flags), ...promptLine(flags).request }, signal);
      } finally {
        model.dispose();
      }
    });
}

function checkUsage({ input, prompt, use, adapter = {} }: GenerateFlags, command: Command): void {
  const refuse = (message: string): never => command.error(`error: ${message}`);
  if (input === undefined && prompt === undefined) refuse('give --prompt or --input');
  if (input !== undefined && prompt !== undefined) refuse('give only one of --prompt and --input');
  if (use === undefined) return;
  if (input !== undefined) refuse('--use is for --prompt: requests of --input name their adapters themselves');
  const names = Object.keys(adapter);
  if (names.length === 0) refuse(`--use names '${use}', but no --adapter is given`);
  if (!names.includes(use)) refuse(`--use names '${use}', given with --adapter: ${names.join(', ')}.${didYouMean(use, names)}`);
}

function defaultsOf({ maxTokens, temperature, topP, topK, seed, stop }: GenerateFlags): GenerateRequest {
  const values = Object.entries({ maxTokens, temperature, topP, topK, seed, stop });
  return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as GenerateRequest;
}

function promptLine({ prompt, use }: GenerateFlags): RequestLine<GenerateRequest> {
  return { id: '1', where: '--prompt', adapter: use ?? null, request: { prompt, adapter: use } };
}

async function stream(model: Model, request: GenerateRequest, signal: AbortSignal): Promise<void> {
  let last = '\n';
  try {
    for await (const { text } of model.generate(request, { signal })) {
      printText(text);
      last = text.at(-1) ?? last;
    }
  } catch (error) {
    throwIfInterrupted(signal);
    throw error;
  } finally {
    if (last !== '\n') process.stdout.write('\n');
  }
}

async function generateAll(
  model: Model,
  lines: readonly RequestLine<GenerateRequest>[],
  flags: GenerateFlags,
  signal: AbortSignal,
): Promise<void> {
  const defaults = defaultsOf(flags);
  const json = flags.json === true;
  await runRequests(lines, {
    label: 'generating',
    json,
    signal,
    run: (request) => model.complete({ ...defaults, ...request }, { signal }),
    show: ({ id, adapter, request }, completion) => {
      if (json) printJson({ id, adapter, ...answer(completion, request) });
      else printText(`── ${id} · ${adapterLabel(adapter)} ──\n${completion.text}\n\n`);
    },
  });
  if (json) printJson({ stats: statsOf(model) });
}

function answer({ tokens, text, finishReason, logprobs }: Completion, request: GenerateRequest): Record<string, unknown> {
  return { tokens, text, finishReason, ...((request.topLogprobs ?? 0) > 0 ? { logprobs } : {}) };
}
