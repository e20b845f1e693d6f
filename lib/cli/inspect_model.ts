import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathInside } from '../checkpoint/contained_path.js';
import { modelName, openCheckpoint, readModelConfig, readOptionalObject } from '../checkpoint/hugging_face_folder.js';
import { readJsonFile } from '../checkpoint/json.js';
import type { ModelConfig, RopeSettings } from '../checkpoint/model_config.js';
import type { TensorInfo } from '../checkpoint/safetensors.js';
import { ModelError } from '../errors.js';
import { architectureOf } from '../models/index.js';
import { ChatTemplate } from '../text/chat_template.js';
import {
  elementsOf,
  type Findings,
  formatBytes,
  formatDtypes,
  formatFacts,
  formatList,
  formatParameters,
  type TensorTotals,
  totalsOf,
} from './inspect_facts.js';
import { formatAmount } from './progress.js';

interface TokenizerFacts {
  readonly type: string;
  readonly tokens: number;
}

const tokenizerLimits = { maxBytes: 128 << 20, maxDepth: 64 };
const shownFiles = 40;

/** What a model folder is, from its configuration and the headers of its weights. */
export async function inspectModelFolder(folder: string): Promise<Findings> {
  const name = modelName(folder);
  const raw = (await readOptionalObject(folder, 'config.json')) ?? {};
  const modelType = typeof raw.model_type === 'string' ? raw.model_type : undefined;
  const { config, problem } = await readConfig(folder, name);
  const totals = await totalsOfFolder(folder, config);
  const tokenizer = await tokenizerFacts(folder);
  const chatTemplates = (await ChatTemplate.load(folder))?.names ?? [];
  const files = await filesOf(folder);
  const slidingLayers = config?.layerTypes.filter((type) => type === 'sliding_attention').length ?? 0;
  const json = {
    kind: 'model',
    path: folder,
    name,
    architecture: modelType,
    supported: problem === undefined,
    ...(problem === undefined ? {} : { problem: { code: problem.code, message: problem.message } }),
    ...totals,
    ...(config && shapeJson(config, slidingLayers)),
    tokenizer: tokenizer ?? null,
    chatTemplates,
    files,
  };
  const text = formatFacts(`${name}: model`, [
    ['architecture', modelType ?? 'not named'],
    ['parameters', formatParameters(totals.parameters)],
    ['dtype', formatDtypes(totals.dtypes, totals.parameters)],
    ['bytes', `${formatBytes(totals.bytes)} in ${totals.tensors} tensors`],
    ...(config === undefined ? [] : shapeFacts(config, slidingLayers)),
    [
      'tokenizer',
      tokenizer === undefined ? 'none: requests give token ids' : `${tokenizer.type}, ${tokenizer.tokens.toLocaleString('en-US')} tokens`,
    ],
    ['chat template', chatTemplates.length === 0 ? 'none' : chatTemplates.length === 1 ? 'yes' : chatTemplates.join(', ')],
    [
      'files',
      formatList(
        files.map(({ name: file, bytes }) => `${file} ${formatAmount(bytes, 'bytes')}`),
        shownFiles,
      ),
    ],
    ['cannot be loaded', problem?.message],
  ]);
  return { json, text };
}

// A model that cannot be run can still be described.
async function readConfig(folder: string, name: string): Promise<{ config?: ModelConfig; problem?: ModelError }> {
  let config: ModelConfig | undefined;
  try {
    config = await readModelConfig(folder);
    architectureOf(config.modelType, name);
    return { config };
  } catch (problem) {
    if (problem instanceof ModelError) return config === undefined ? { problem } : { config, problem };
    throw problem;
  }
}

async function totalsOfFolder(folder: string, config: ModelConfig | undefined): Promise<TensorTotals> {
  const tensors = await openCheckpoint(folder);
  try {
    const totals = totalsOf(tensors);
    // Saved twice by some tools, though it is one.
    const copy = config?.tiedEmbeddings ? tensors.info('lm_head.weight') : undefined;
    return copy === undefined ? totals : { ...totals, parameters: totals.parameters - elementsOf(copy as TensorInfo) };
  } finally {
    tensors.dispose();
  }
}

function shapeJson(config: ModelConfig, slidingLayers: number): Record<string, unknown> {
  const {
    layers,
    hiddenSize,
    intermediateSize,
    heads,
    keyHeads,
    headWidth,
    vocabularySize,
    maxPositions,
    tiedEmbeddings,
    rope,
    slidingRope,
  } = config;
  return {
    layers,
    hiddenSize,
    intermediateSize,
    heads,
    keyHeads,
    headWidth,
    contextLength: maxPositions,
    vocabularySize,
    tiedEmbeddings,
    rope: config.modelType === 'gpt2' ? null : rope,
    ...(slidingRope === undefined ? {} : { slidingRope }),
    slidingWindow: slidingLayers > 0 ? config.slidingWindow : null,
    slidingLayers,
  };
}

function shapeFacts(config: ModelConfig, slidingLayers: number): [string, string | number | undefined][] {
  const { layers, hiddenSize, intermediateSize, heads, keyHeads, headWidth, slidingRope } = config;
  const groups = keyHeads === heads ? '' : `, ${keyHeads} of keys and values`;
  return [
    ['layers', `${layers}, ${hiddenSize.toLocaleString('en-US')} wide, ${intermediateSize.toLocaleString('en-US')} inside`],
    ['heads', `${heads} of ${headWidth}${groups}`],
    ['context', `${config.maxPositions.toLocaleString('en-US')} tokens`],
    [
      'vocabulary',
      `${config.vocabularySize.toLocaleString('en-US')}, output layer ${config.tiedEmbeddings ? 'tied to the embedding' : 'of its own'}`,
    ],
    ['positions', config.modelType === 'gpt2' ? 'learned' : `rotary, ${describeRope(config.rope)}`],
    ['positions of sliding layers', slidingRope === undefined ? undefined : `rotary, ${describeRope(slidingRope)}`],
    [
      'sliding window',
      slidingLayers === 0 ? undefined : `${config.slidingWindow.toLocaleString('en-US')} tokens in ${slidingLayers} of ${layers} layers`,
    ],
  ];
}

function describeRope(rope: RopeSettings): string {
  const factor = 'factor' in rope ? ` × ${rope.factor}` : '';
  const part = rope.partialRotaryFactor === 1 ? '' : `, ${rope.partialRotaryFactor} of each head`;
  return `${rope.type}${factor}, base ${rope.base.toLocaleString('en-US')}${part}`;
}

async function tokenizerFacts(folder: string): Promise<TokenizerFacts | undefined> {
  const file = await pathInside(folder, 'tokenizer.json');
  if (file === undefined) return undefined;
  const { model, added_tokens: added } = (await readJsonFile(file, tokenizerLimits)) as {
    model?: { type?: unknown; vocab?: unknown };
    added_tokens?: unknown;
  };
  const vocab = model?.vocab;
  const ids = Array.isArray(vocab) ? vocab.map((_, i) => i) : Object.values(typeof vocab === 'object' && vocab !== null ? vocab : {});
  const known = new Set<unknown>(ids);
  for (const token of Array.isArray(added) ? added : []) known.add((token as { id?: unknown } | null)?.id);
  return { type: typeof model?.type === 'string' ? model.type : 'unknown', tokens: known.size };
}

async function filesOf(folder: string): Promise<{ name: string; bytes: number }[]> {
  const files: { name: string; bytes: number }[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const facts = await stat(join(folder, name)).catch(() => undefined);
    if (facts?.isFile()) files.push({ name, bytes: facts.size });
  }
  return files;
}
