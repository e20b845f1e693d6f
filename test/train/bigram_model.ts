// The smallest real model there is to train: the next byte from the last one, by a frozen table and low-rank factors per adapter.

import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { compile } from '../../lib/graph/compile.js';
import { graph } from '../../lib/graph/graph.js';
import { gradient } from '../../lib/ops/gradient.js';
import { add, embedding, matmul, scale, tokenLogprob } from '../../lib/ops/index.js';
import { type DeviceTensor, emptyTensor, tensor, tensorSlice } from '../../lib/runtime/device_tensor.js';
import type { Program } from '../../lib/runtime/program.js';
import { uniform } from '../../lib/train/counter_random.js';
import type { ExampleTokenizer } from '../../lib/train/data/tokenise.js';
import type {
  AdapterToTrain,
  OpenTrainingModel,
  RowScores,
  RunnerRequest,
  TrainedParameters,
  TrainingMicroBatch,
  TrainingStepRunner,
} from '../../lib/train/step_runner.js';

const vocabulary = 257;
const width = 32;

/** Bytes are tokens. */
export const byteTokenizer: ExampleTokenizer = {
  vocabularySize: vocabulary,
  eosId: vocabulary - 1,
  surroundings: { before: [], after: [] },
  isSpecial: (id) => id === vocabulary - 1,
  encodeAll: async (texts) => texts.map((text) => Int32Array.from(Buffer.from(text))),
  decode: (ids) => Buffer.from(Array.from(ids).filter((id) => id < 256)).toString(),
};

interface Adapter {
  readonly parameters: TrainedParameters;
  readonly training: Program;
  readonly evaluation: Program;
}

/** What a test may do between the steps of a training. */
export interface BigramHooks {
  /** Called before each micro-batch; what it gives is added to the first log-probability. */
  onAccumulate?(batch: TrainingMicroBatch): number | Promise<number>;
  fingerprint?: string;
}

/** Opens the model; nothing of it is on the disk. */
export function openBigram(hooks: BigramHooks = {}): OpenTrainingModel {
  return async () => ({
    name: 'bigram',
    fingerprint: hooks.fingerprint ?? 'bigram',
    contextLength: 64,
    tokenizer: byteTokenizer,
    createRunner: async (request) => new BigramRunner(request, hooks),
    saveAdapter,
    continueTexts: async (requests) =>
      requests.map(({ folder, prompt }) => `${folder === undefined ? 'base' : 'tuned'} after ${prompt.length} <b>&amp;</b>`),
    dispose() {},
  });
}

async function saveAdapter({ name, settings }: AdapterToTrain, { values, tensors }: TrainedParameters, folder: string): Promise<void> {
  const bytes = await values.buffer.read(values.offset, 4 * (values.dims[0] as number));
  const files = tensors.map((part) => {
    const count = part.shape.reduce((product, size) => product * size, 1);
    return { name: part.name, dtype: 'F32', shape: part.shape, data: new Float32Array(bytes, 4 * part.offset, count) };
  });
  await writeSafetensors(`${folder}/adapter_model.safetensors`, files, { name, rank: String(settings.rank) });
}

class BigramRunner implements TrainingStepRunner {
  readonly parameters: readonly TrainedParameters[];
  readonly #adapters: readonly Adapter[];
  readonly #frozen: DeviceTensor;
  readonly #hooks: BigramHooks;

  constructor({ adapters, maxRows, settings }: RunnerRequest, hooks: BigramHooks) {
    const random = (i: number): number => uniform(11, [i, 0, 0, 99]) - 0.5;
    this.#frozen = tensor(
      'f32',
      [vocabulary, width],
      Float32Array.from({ length: vocabulary * width }, (_, i) => random(i)),
    );
    this.#hooks = hooks;
    this.#adapters = adapters.map((adapter) => this.#compile(adapter, maxRows, settings.seed));
    this.parameters = this.#adapters.map(({ parameters }) => parameters);
  }

  get memory() {
    const programs = this.#adapters.flatMap(({ training, evaluation }) => [training.memory, evaluation.memory]);
    return {
      weights: this.#frozen.buffer.byteLength,
      parameters: this.parameters.reduce((sum, { values }) => sum + 2 * values.buffer.byteLength, 0),
      arena: programs.reduce((sum, { arenaBytes }) => sum + arenaBytes, 0),
      workspace: programs.reduce((sum, { workspaceBytes }) => sum + workspaceBytes, 0),
    };
  }

  async accumulate(batch: TrainingMicroBatch): Promise<RowScores> {
    const extra = (await this.#hooks.onAccumulate?.(batch)) ?? 0;
    const scores = await this.#run(batch, true);
    if (extra !== 0) scores.logprobs[0] = (scores.logprobs[0] as number) + extra;
    return scores;
  }

  async evaluate(batch: TrainingMicroBatch): Promise<RowScores> {
    return this.#run(batch, false);
  }

  dispose(): void {
    for (const { parameters, training, evaluation } of this.#adapters) {
      training.dispose();
      evaluation.dispose();
      parameters.values.buffer.dispose();
      parameters.gradients.buffer.dispose();
    }
    this.#frozen.buffer.dispose();
  }

  async #run(batch: TrainingMicroBatch, learns: boolean): Promise<RowScores> {
    const logprobs = new Float32Array(batch.rows.length);
    for (const [slot, { training, evaluation }] of this.#adapters.entries()) {
      const rows = [...batch.rows.keys()].filter((row) => batch.rowAdapter[row] === slot);
      if (rows.length === 0) continue;
      const tokens = Int32Array.from(rows, (row) => batch.tokens[batch.rows[row] as number] as number);
      const targets = Int32Array.from(rows, (row) => batch.targets[row] as number);
      const upstream = Float32Array.from(rows, (row) => -(batch.rowWeight[row] as number));
      const result = await (learns ? training.run({ tokens, targets, upstream }) : evaluation.run({ tokens, targets }));
      rows.forEach((row, i) => {
        logprobs[row] = (result.logprobs as Float32Array)[i] as number;
      });
    }
    return { logprobs };
  }

  #compile({ name, settings }: AdapterToTrain, maxRows: number, seed: number): Adapter {
    const { rank, alpha, loraPlusRatio } = settings;
    const sizeA = rank * width;
    const sizeB = rank * vocabulary;
    const values = emptyTensor('f32', [sizeA + sizeB]);
    const gradients = emptyTensor('f32', [sizeA + sizeB]);
    void values.buffer.write(
      0,
      Float32Array.from({ length: sizeA }, (_, i) => (uniform(seed, [i, 1, 0, 98]) - 0.5) / Math.sqrt(width)),
    );
    const build = (learns: boolean): Program => {
      const g = graph();
      const tokens = g.input('tokens', 'i32', ['rows']);
      const targets = g.input('targets', 'i32', ['rows']);
      const frozen = g.weight('frozen', this.#frozen);
      const a = g.parameter('a', tensorSlice(values, 0, [rank, width]));
      const b = g.parameter('b', tensorSlice(values, sizeA, [rank, vocabulary]));
      const x = embedding(tokens, frozen);
      const low = matmul(matmul(x, a, { transposeB: true }), b);
      const logits = add(scale(matmul(x, frozen, { transposeB: true }), 0.5), scale(low, alpha / rank));
      const logprobs = tokenLogprob(logits, targets);
      const extents = { rows: { max: maxRows } };
      if (!learns) return compile(g, { outputs: { logprobs }, extents });
      const into = new Map([
        [a, g.state('da', tensorSlice(gradients, 0, [rank, width]))],
        [b, g.state('db', tensorSlice(gradients, sizeA, [rank, vocabulary]))],
      ]);
      const [da, db] = gradient(logprobs, [a, b], { upstream: g.input('upstream', 'f32', ['rows']), into });
      return compile(g, { outputs: { logprobs, da: da as typeof a, db: db as typeof b }, extents });
    };
    const parameters: TrainedParameters = {
      name,
      values,
      gradients,
      groups: [
        { name: 'A', offset: 0, length: sizeA, rateMultiplier: 1, decays: true },
        { name: 'B', offset: sizeA, length: sizeB, rateMultiplier: loraPlusRatio, decays: true },
      ],
      tensors: [
        { name: 'lora_A', shape: [rank, width], offset: 0, rowStride: width },
        { name: 'lora_B', shape: [rank, vocabulary], offset: sizeA, rowStride: vocabulary },
      ],
    };
    return { parameters, training: build(true), evaluation: build(false) };
  }
}
