import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { cudaInfo, deviceInfo, memory } from '../engine/device.js';
import type { GenerateRequest } from '../engine/generate_options.js';
import type { Model } from '../engine/model.js';
import type { DrawnToken, FinishReason } from '../engine/request.js';
import { packageRoot } from '../runtime/load_binding.js';
import { interruptSignal, throwIfInterrupted } from './interrupt.js';
import { decimal, type ModelFlags, openModel, wholeNumber, withModel } from './model_options.js';
import { printJson, printText } from './output.js';
import { Panes } from './panes.js';
import { formatAmount } from './progress.js';
import { statsOf } from './stats.js';

interface DemoFlags extends Omit<ModelFlags, 'model'> {
  model?: string;
  prompt: string;
  maxTokens: number;
  temperature: number;
  topP: number;
  seed: number;
}

interface Continuation {
  readonly adapter: string | null;
  tokens: DrawnToken[];
  text: string;
  finishReason: FinishReason;
}

interface Figures {
  readonly seconds: number;
  /** Tokens generated, prompts not counted. */
  readonly generated: number;
  /** Most pages that requests and adapters held at once, in bytes. */
  readonly poolBytesInUse: number;
}

/** `heddle demo`: one prompt, continued by a bare model and all its adapters in one batch. */
export function demoCommand(): Command {
  return withModel(new Command('demo'), 'the storyteller that comes with heddle, and its five adapters')
    .description('continue one prompt with a bare model and its adapters, side by side in one batch')
    .option('-p, --prompt <text>', 'the text to continue', 'The king said:')
    .option('-n, --max-tokens <n>', 'tokens of each continuation', wholeNumber(1), 48)
    .option('-t, --temperature <x>', '0: always the most likely token', decimal(0, 100), 0.8)
    .option('--top-p <x>', 'smallest set of likely tokens with this probability', decimal(0, 1), 0.9)
    .option('--seed <n>', 'another seed, another story', wholeNumber(), 2)
    .addHelpText(
      'after',
      `
The storyteller is a model of 2.8 million parameters, trained from scratch on old books: it knows how they sound, not what they say.
On a terminal the continuations grow side by side; in a pipe they are labelled blocks. With --json: a line per continuation
{"id", "adapter", "tokens", "text", "finishReason"}, then {"stats"} with tokens per second and memory in bytes.

Examples:
  heddle demo --prompt "It was a dark night, and" --seed 7
  heddle demo --model ./llama --adapter sql=./sql --adapter legal=./legal --prompt "The customer"`,
    )
    .action(async (flags: DemoFlags) => {
      const source = sourceOf(flags);
      const signal = interruptSignal();
      const model = await openModel({ ...flags, ...source }, signal);
      try {
        await tell(model, [null, ...Object.keys(source.adapter)], flags, signal);
      } finally {
        model.dispose();
      }
    });
}

function sourceOf({ model, adapter = {} }: DemoFlags): { model: string; adapter: Record<string, string> } {
  if (model !== undefined) return { model, adapter };
  const story = join(packageRoot(), 'examples', 'storyteller');
  const own = readdirSync(join(story, 'adapters')).sort();
  return {
    model: join(story, 'base'),
    adapter: { ...Object.fromEntries(own.map((name) => [name, join(story, 'adapters', name)])), ...adapter },
  };
}

async function tell(model: Model, adapters: readonly (string | null)[], flags: DemoFlags, signal: AbortSignal): Promise<void> {
  const { prompt, maxTokens, temperature, topP, seed } = flags;
  // Read once, so that all continuations begin in the same step.
  const tokens = await model.promptTokens({ prompt });
  const request: GenerateRequest = { tokens, maxTokens, temperature, topP, seed };
  // The first step builds the program: that is loading, not speed.
  await model.complete({ ...request, maxTokens: 1 }, { signal });
  const continuations = adapters.map((adapter): Continuation => ({ adapter, tokens: [], text: '', finishReason: 'abort' }));
  if (!flags.json) printText(`${prompt} …\n\n`);
  const panes = flags.json ? undefined : new Panes(adapters.map((adapter) => adapter ?? 'base'));
  let heldPages = 0;
  const began = performance.now();
  const run = async (continuation: Continuation, i: number): Promise<void> => {
    const adapter = continuation.adapter ?? undefined;
    for await (const piece of model.generate({ ...request, adapter }, { signal })) {
      heldPages = Math.max(heldPages, model.memory().pool.heldPages);
      continuation.tokens.push(...piece.tokens);
      continuation.text += piece.text;
      continuation.finishReason = piece.finishReason ?? continuation.finishReason;
      // Columns begin with text, not with the line breaks before it.
      panes?.write(i, continuation.text.trim() === piece.text.trim() ? piece.text.trimStart() : piece.text);
    }
    panes?.finish(i);
  };
  try {
    await Promise.all(continuations.map(run));
  } catch (error) {
    throwIfInterrupted(signal);
    throw error;
  } finally {
    panes?.close();
  }
  const seconds = (performance.now() - began) / 1000;
  const generated = continuations.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const figures = { seconds, generated, poolBytesInUse: heldPages * model.memory().pool.pageBytes };
  if (flags.json) printFigures(model, continuations, figures);
  else process.stdout.write(`\n${summary(model, continuations.length, figures)}\n`);
}

function printFigures(model: Model, continuations: readonly Continuation[], { seconds, generated, poolBytesInUse }: Figures): void {
  continuations.forEach(({ adapter, tokens, text, finishReason }) => {
    printJson({ id: adapter ?? 'base', adapter, tokens: tokens.map(({ token }) => token), text, finishReason });
  });
  const { weights, pool, programs } = model.memory();
  const device = deviceMemory(model);
  printJson({
    stats: {
      ...statsOf(model),
      device: model.device.name,
      deviceReason: model.device.reason,
      generatedTokens: generated,
      seconds,
      tokensPerSecond: generated / seconds,
      memoryBytes: {
        weights,
        pool: pool.bytes,
        poolInUse: poolBytesInUse,
        programs,
        tensors: memory().bytes,
        ...(device && { device: device.bytes, devicePeak: device.peakBytes, deviceFree: device.freeBytes }),
        process: process.memoryUsage.rss(),
      },
    },
  });
}

function summary(model: Model, count: number, { seconds, generated, poolBytesInUse }: Figures): string {
  const { steps, maxRequestsInStep, maxAdaptersInStep } = model.stats();
  const { weights, pool } = model.memory();
  const bytes = (value: number): string => formatAmount(value, 'bytes');
  return [
    `speed     ${formatAmount(generated / seconds)} tokens per second: ${generated} tokens of ${count} continuations in ${seconds.toFixed(2)} s`,
    `device    ${deviceText(model)}`,
    `batch     ${maxRequestsInStep} requests and ${maxAdaptersInStep} adapters per step, ${steps} steps`,
    `memory    weights ${bytes(weights)}, pool ${bytes(poolBytesInUse)} in use of ${bytes(pool.bytes)}, process ${bytes(process.memoryUsage.rss())}`,
  ].join('\n');
}

const deviceMemory = (model: Model) => memory().devices.find(({ name }) => name === model.device.name);

function deviceText(model: Model): string {
  const { name } = model.device;
  const found = deviceMemory(model);
  if (found === undefined) {
    const { target, threads } = deviceInfo();
    return `${name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${target}`;
  }
  const bytes = (value: number | undefined): string => (value === undefined ? '?' : formatAmount(value, 'bytes'));
  const described = cudaInfo().devices.find(({ device }) => device === name)?.name ?? '';
  return `${name} ${described}, ${bytes(found.bytes)} in use (${bytes(found.peakBytes)} at most), ${bytes(found.freeBytes)} free of ${bytes(found.totalBytes)}`;
}
