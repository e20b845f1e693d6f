import type { ModelConfig } from '../checkpoint/model_config.js';
import { compileInTurns } from '../graph/compile.js';
import { Graph } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import type { Architecture } from '../models/architecture.js';
import { Constants, type Tables } from '../models/constants.js';
import { ModelBuilder, type Site, type TokenTensors } from '../models/model_builder.js';
import { type CacheLayout, ServingPaths, type ServingTensors } from '../models/serving_paths.js';
import type { WeightStore } from '../models/weight_store.js';
import { advance, gatherRows, sample, tokenLogprob } from '../ops/index.js';
import { type DeviceTensor, emptyTensor } from '../runtime/device_tensor.js';
import type { Program } from '../runtime/program.js';
import { inTurns, type Slices } from '../runtime/slices.js';
import { controlColumns, integerColumns, samplingLimits } from './sampling.js';

/** Native memory that lives as long as the model and that steps read or change. */
export interface ModelState {
  /** u8 [bytes]: the page pool. */
  readonly pool: DeviceTensor;
  /** i32 [slots, sites, 8] */
  readonly entries: DeviceTensor;
  /** i32 [rows] */
  readonly adapterRows: DeviceTensor;
  /** i32 [requests, context] */
  readonly history: DeviceTensor;
  /** i32 [requests, 2] */
  readonly historyState: DeviceTensor;
}

/** Sizes that a model's programs are compiled for. */
export interface StepLimits {
  readonly maxStepTokens: number;
  readonly maxScoreTokens: number;
  readonly maxRequests: number;
  readonly maxAdaptersPerRequest: number;
  readonly contextBlocks: number;
}

/** Builds the graphs of a model; the same weights serve all of them. */
export class ModelGraphs {
  private readonly tables: Tables = new Map();

  constructor(
    private readonly architecture: Architecture,
    private readonly config: ModelConfig,
    private readonly weights: WeightStore,
    private readonly cache: CacheLayout,
    private readonly limits: StepLimits,
  ) {}

  /** Sites in the order of their numbers. Asks for every weight on the way, which compares config.json with the checkpoint. */
  *sites(): Slices<readonly Site[]> {
    // What is sized by the sites or by config.json comes later: a stand-in does for the walk.
    const pool = emptyTensor('u8', [64], this.weights.device);
    try {
      const entries: DeviceTensor = { ...pool, dtype: 'i32', dims: [1, 1, 8] };
      const adapterRows: DeviceTensor = { ...pool, dtype: 'i32', dims: [1] };
      return (yield* this.build({ pool, entries, adapterRows })).builder.sites;
    } finally {
      pool.buffer.dispose();
    }
  }

  /** Takes a step of any mix of prompts and single tokens, draws a token for every row of logits, and feeds itself. */
  async generation(state: ModelState): Promise<Program> {
    const { graph, step, logits } = await inTurns(this.build(state));
    const history = graph.state('history', state.history);
    const historyState = graph.state('historyState', state.historyState);
    const integers = graph.input('integers', 'i32', ['rows', integerColumns]);
    const positions = gatherRows(step.positions, step.rows);
    const drawn = sample(
      {
        logits,
        positions,
        controls: graph.input('controls', 'f32', ['rows', controlColumns]),
        integers,
        history,
        historyState,
        biasTokens: graph.input('biasTokens', 'i32', ['rows', 'biases']),
        biasValues: graph.input('biasValues', 'f32', ['rows', 'biases']),
      },
      { tops: { extent: 'tops', coefficient: 1 } },
    );
    const next = advance({
      token: drawn.token,
      positions,
      integers,
      history,
      historyState,
      stopTokens: graph.input('stopTokens', 'i32', ['rows', 'stops']),
    });
    return compileInTurns(graph, {
      outputs: { ...drawn, ...next },
      extents: {
        ...this.extents(this.limits.maxStepTokens, this.limits.maxRequests),
        biases: { max: samplingLimits.biases },
        stops: { max: samplingLimits.stopTokens },
        tops: { max: samplingLimits.topLogprobs },
      },
      feeds: [
        { output: 'nextToken', input: 'tokens' },
        { output: 'nextPosition', input: 'positions' },
      ],
      while: 'running',
    });
  }

  /** Takes a step and gives the log-probability of one target per row of logits. */
  async scoring(state: ModelState): Promise<Program> {
    const { graph, logits } = await inTurns(this.build(state));
    const logprob = tokenLogprob(logits, graph.input('target', 'i32', ['rows']));
    const { maxScoreTokens } = this.limits;
    return compileInTurns(graph, { outputs: { logprob }, extents: this.extents(maxScoreTokens, maxScoreTokens) });
  }

  dispose(): void {
    for (const table of this.tables.values()) table.buffer.dispose();
  }

  private extents(tokens: number, rows: number): Record<string, { max: number }> {
    const { maxRequests, contextBlocks, maxAdaptersPerRequest } = this.limits;
    return {
      tokens: { max: tokens },
      rows: { max: rows },
      requests: { max: maxRequests },
      blocks: { max: contextBlocks },
      routes: { max: maxAdaptersPerRequest },
    };
  }

  private *build(state: Pick<ModelState, 'pool' | 'entries' | 'adapterRows'>): Slices<{
    graph: Graph;
    step: TokenTensors & ServingTensors;
    logits: Tensor;
    builder: ModelBuilder;
  }> {
    const graph = new Graph();
    const step: TokenTensors & ServingTensors = {
      tokens: graph.input('tokens', 'i32', ['tokens']),
      virtualTokens: graph.input('virtualTokens', 'i32', ['tokens']),
      positions: graph.input('positions', 'i32', ['tokens']),
      request: graph.input('request', 'i32', ['tokens']),
      lengths: graph.input('lengths', 'i32', ['tokens']),
      blockTable: graph.input('blockTable', 'i32', ['requests', 'blocks']),
      rows: graph.input('rows', 'i32', ['rows']),
      routing: {
        index: graph.input('index', 'i32', ['tokens', 'routes']),
        weight: graph.input('weight', 'f32', ['tokens', 'routes']),
        entries: graph.state('entries', state.entries),
        rows: graph.state('adapterRows', state.adapterRows),
        pool: graph.state('pool', state.pool),
      },
    };
    const constants = new Constants(graph, this.tables, this.weights.device);
    const builder = new ModelBuilder(graph, this.weights, step, new ServingPaths(step, this.cache, constants), constants);
    const logits = yield* this.architecture.build(builder, this.config);
    return { graph, step, logits, builder };
  }
}
