// What other libraries computed for the fixtures, read without any code of the library under test.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export const modelFolder = (name: string): string => join(root, 'test/fixtures/models', name);
export const adapterFolder = (name: string): string => join(root, 'test/fixtures/adapters', name);
export const storyteller = {
  base: join(root, 'examples/storyteller/base'),
  adapter: (name: string): string => join(root, 'examples/storyteller/adapters', name),
  expected: join(root, 'test/fixtures/storyteller/expected.json'),
};
/** Every LoRA adapter over models/llama, as PEFT saved it. */
export const loraAdapters = [
  'lora',
  'lora-all-r3',
  'lora-bias',
  'lora-dora',
  'lora-embeddings-head',
  'lora-modules-to-save',
  'lora-patterns',
  'lora-pissa',
  'lora-rslora',
  'lora-some-layers',
] as const;

/** Every adapter over models/llama, as PEFT saved it. */
export const peftAdapters = [
  ...loraAdapters,
  'adalora',
  'adaption-prompt',
  'boft',
  'c3a',
  'delora',
  'fourierft',
  'gralora',
  'hira',
  'hra',
  'ia3',
  'ln-tuning',
  'loha',
  'lokr',
  'miss',
  'oft',
  'p-tuning',
  'prefix-tuning',
  'prompt-tuning',
  'randlora',
  'road',
  'shira',
  'trainable-tokens',
  'vblora',
  'vera',
  'waveft',
] as const;

/** A tensor of a file, as numbers. */
export interface FileTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | number[];
}

/** The f32 and i64 tensors of a safetensors file. */
export function readTensors(file: string): Record<string, FileTensor> {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors: Record<string, FileTensor> = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const copy = Uint8Array.from(bytes.subarray(8 + length + offsets[0], 8 + length + offsets[1])).buffer;
    tensors[name] = { shape, data: dtype === 'I64' ? Array.from(new BigInt64Array(copy), Number) : new Float32Array(copy) };
  }
  return tensors;
}

/** The parts of a tensor along its first dimension. */
export function rowsOf({ shape, data }: FileTensor): number[][] {
  const size = shape.slice(1).reduce((n, d) => n * d, 1);
  return Array.from({ length: shape[0] as number }, (_, i) => Array.from(data.slice(i * size, (i + 1) * size)));
}

/**
 * Logits [positions, vocabulary] → the log-probability of each token but the first given those before it, in float64. Positions
 * of an adapter's own may come before the tokens.
 */
export function logprobsOf(logits: readonly number[], tokens: readonly number[], vocabulary = logits.length / tokens.length): number[] {
  const before = logits.length / vocabulary - tokens.length;
  return tokens.slice(1).map((token, t) => {
    const row = logits.slice((before + t) * vocabulary, (before + t + 1) * vocabulary);
    const top = Math.max(...row);
    return (row[token] as number) - top - Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
  });
}

/** Prompts of a fixture with the log-probabilities that are expected for them. */
export function expectedScores(folder: string): { tokens: number[]; logprobs: number[] }[] {
  const { input_ids: ids, logits } = readTensors(join(folder, 'expected.safetensors'));
  const rows = rowsOf(logits as FileTensor);
  return rowsOf(ids as FileTensor).map((tokens, i) => ({ tokens, logprobs: logprobsOf(rows[i] as number[], tokens, logits?.shape[2]) }));
}

/** The largest difference between what a score says and what is expected; infinite when lengths differ or a number is missing. */
export function largestError(actual: readonly (number | null)[], expected: readonly number[]): number {
  if (actual.length !== expected.length + 1) return Number.POSITIVE_INFINITY;
  return expected.reduce((worst, value, i) => {
    const error = Math.abs((actual[i + 1] ?? Number.NaN) - value);
    return Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
  }, 0);
}

/** Numbers as text that tells every bit. */
export const bitsOf = (numbers: readonly (number | null)[]): string =>
  Buffer.from(Float64Array.from(numbers, (n) => n ?? Number.NaN).buffer).toString('hex');
