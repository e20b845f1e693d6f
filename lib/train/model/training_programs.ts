// The graphs of a training: forward and backward of a batch, and forward alone.
import type { ModelConfig } from '../../checkpoint/model_config.js';
import type { OpName } from '../../generated/op_table.js';
import { type CompileOptions, compileInTurns, planArena } from '../../graph/compile.js';
import { Graph } from '../../graph/graph.js';
import type { RecomputePolicy } from '../../graph/recompute.js';
import type { OpCall, Tensor } from '../../graph/tensor.js';
import type { Architecture } from '../../models/architecture.js';
import { Constants, type Tables } from '../../models/constants.js';
import { ModelBuilder, type Site, type TokenTensors } from '../../models/model_builder.js';
import type { WeightStore } from '../../models/weight_store.js';
import { gradient } from '../../ops/gradient.js';
import { scale, tokenLogprob } from '../../ops/index.js';
import type { Program } from '../../runtime/program.js';
import { atOnce } from '../../runtime/slices.js';
import type { FactorTables } from './factor_tables.js';
import type { ParameterStore } from './parameter_store.js';
import { type AdapterInTraining, ParameterNodes } from './site_adapters.js';
import { inputNames, TrainingPaths } from './training_paths.js';

/** What a training's graphs are built from. */
export interface TrainingGraphParts {
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  readonly weights: WeightStore;
  readonly tables: Tables;
  readonly adapters: readonly AdapterInTraining[];
  readonly store: ParameterStore;
  readonly factors: FactorTables | undefined;
}

/** Sizes that programs are compiled for. */
export interface TrainingLimits {
  readonly maxTokens: number;
  readonly maxRows: number;
}

/** Sites of a model in the order of their numbers; asks for every weight on the way. */
export function sitesOfModel(architecture: Architecture, config: ModelConfig, weights: WeightStore, tables: Tables): readonly Site[] {
  return trainingForward({ architecture, config, weights, tables, adapters: [], store: undefined, factors: undefined }).sites;
}

/** Forward alone: the log-probability of each row's target. */
export async function compileEvaluation(parts: TrainingGraphParts, limits: TrainingLimits): Promise<Program> {
  const { graph, logprobs, sized } = trainingForward(parts);
  return compileInTurns(graph, { outputs: { logprobs }, extents: extentsOf(limits, sized) });
}

/** What is computed again rather than kept. */
export type Recompute = 'none' | 'cheap' | 'layer';

const products: ReadonlySet<OpName> = new Set<OpName>(['linear', 'grouped_lora', 'matmul']);

// What 'cheap' keeps: products that are wider than what goes in, most of a layer's work. A square one, the output projection of attention,
// is a tenth of that and as large as the layer's input; everything else takes next to no time.
function isCostly({ op, inputs, outputs }: OpCall): boolean {
  const width = (tensor: Tensor | undefined): number => tensor?.shape.at(-1) as number;
  return products.has(op) && (op === 'matmul' || width(outputs.y) > width(inputs.x));
}

/**
 * Forward and backward: adds the gradients of Σ -rowWeight · logprob to the store's gradients.
 * `recompute: 'cheap'` computes norms, activations and the like again; `'layer'` keeps what goes in at the beginning of each group of
 * layers and computes the rest again. Groups are chosen so that memory is least: about √layers of them, which makes it grow with √layers
 * (Chen et al. 2016, arXiv:1604.06174).
 */
export async function compileTraining(parts: TrainingGraphParts, limits: TrainingLimits, recompute: Recompute): Promise<Program> {
  if (recompute !== 'layer') {
    const cheap = { group: (layer: number) => layer, keep: isCostly };
    const { graph, options } = training(parts, limits, recompute === 'cheap' ? cheap : undefined);
    return compileInTurns(graph, options);
  }
  const { layers } = parts.config;
  let best: { bytes: number; graph: Graph; options: CompileOptions } | undefined;
  const largest = Math.ceil(2 * Math.sqrt(layers));
  for (let size = 1; best === undefined || size <= largest; size++) {
    const { graph, options } = training(parts, limits, { group: (layer) => Math.floor(layer / size) });
    const bytes = planArena(graph, options);
    if (best === undefined || bytes < best.bytes) best = { bytes, graph, options };
    await new Promise((resolve) => setImmediate(resolve));
  }
  return compileInTurns(best.graph, best.options);
}

function training(
  parts: TrainingGraphParts,
  limits: TrainingLimits,
  recompute: RecomputePolicy | undefined,
): { graph: Graph; options: CompileOptions } {
  const { graph, logprobs, parameters, sized } = trainingForward(parts);
  const rowWeight = graph.input('rowWeight', 'f32', ['rows']);
  const { gradients } = parameters;
  const effects = gradient(logprobs, [...gradients.keys()], {
    upstream: scale(rowWeight, -1),
    into: gradients,
    ...(recompute && { recompute }),
  });
  return { graph, options: { outputs: { logprobs }, effects, extents: extentsOf(limits, sized) } };
}

function extentsOf({ maxTokens, maxRows }: TrainingLimits, sized: ReadonlyMap<string, number>): Record<string, { max: number }> {
  return Object.fromEntries([
    ['tokens', { max: maxTokens }],
    ['rows', { max: maxRows }],
    ...[...sized].map(([name, more]) => [name, { max: maxTokens + more }] as const),
  ]);
}

/** The graph of a batch up to the log-probability of each row's target. Without a store: for what needs no parameters. */
export function trainingForward(parts: Omit<TrainingGraphParts, 'store'> & { store: ParameterStore | undefined }) {
  const { architecture, config, weights, tables, adapters, store, factors } = parts;
  const graph = new Graph();
  const constants = new Constants(graph, tables, weights.device);
  const parameters = new ParameterNodes(graph, store as ParameterStore, adapters);
  const step: TokenTensors = {
    tokens: graph.input('tokens', 'i32', ['tokens']),
    virtualTokens: graph.input('virtualTokens', 'i32', ['tokens']),
    positions: graph.input('positions', 'i32', ['tokens']),
    lengths: graph.input('lengths', 'i32', ['tokens']),
  };
  const routing = factors && {
    index: graph.input('index', 'i32', ['tokens', 1]),
    weight: graph.input('weight', 'f32', ['tokens', 1]),
    entries: graph.state('entries', factors.entries),
    rows: graph.state('factorRows', factors.rows),
    pool: parameters.pool(),
  };
  const rows = graph.input('rows', 'i32', ['rows']);
  const paths = new TrainingPaths(graph, { rows, routing }, adapters, parameters, constants);
  const builder = new ModelBuilder(graph, weights, step, paths, constants);
  const logits: Tensor = atOnce(architecture.build(builder, config));
  const logprobs = tokenLogprob(logits, graph.input('targets', 'i32', ['rows']));
  // Extents by how far they may go beyond the tokens.
  const sized = new Map<string, number>([...paths.picked.values()].map((picked) => [extentName(picked), 0] as const));
  if (paths.prefixKeys > 0) sized.set(inputNames.keys, paths.prefixKeys);
  return { graph, logprobs, parameters, sized, sites: builder.sites };
}

const extentName = (rows: Tensor): string => (rows.shape[0] as { extent: string }).extent;
