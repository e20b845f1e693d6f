// Low-rank factors as PEFT names and shapes them, for every method that is saved as LoRA.
import { OptionError } from '../../errors.js';
import { didYouMean } from '../../runtime/suggest.js';
import type { SiteShape } from '../method.js';
import { turned } from '../rows.js';
import type { SiteTensorReader } from '../site_tensor_reader.js';
import type { ExportedTensor, MethodSettings, ParameterSpec } from '../trainable_method.js';

/** lora_A and lora_B from rows of A and rows of B transposed. */
export function factorTensors(rank: number, { inputs, outputs }: SiteShape, a: Float32Array, bT: Float32Array): ExportedTensor[] {
  return [
    { name: 'lora_A.weight', shape: [rank, inputs], data: a },
    { name: 'lora_B.weight', shape: [outputs, rank], data: turned(bT, rank, outputs) },
  ];
}

/** The way back: rows of A and of B transposed. Throws AdapterError for a tensor that is missing or of another shape. */
export function factorsFrom(
  tensors: SiteTensorReader,
  { inputs, outputs }: SiteShape,
  rank: number,
): { a: Float32Array; bT: Float32Array } {
  const a = tensors.floats32('lora_A.weight', [rank, inputs]);
  return { a, bT: turned(tensors.floats32('lora_B.weight', [outputs, rank]), outputs, rank) };
}

/** A as PEFT begins it: uniform as of Kaiming with a = √5, or normal with deviation 1 / rank. */
export function initialA({ init, rank }: MethodSettings, inputs: number): ParameterSpec['initial'] {
  return init === 'gaussian' ? { kind: 'normal', deviation: 1 / rank } : { kind: 'uniform', bound: 1 / Math.sqrt(inputs) };
}

/** Throws OptionError where `init` is none of the names. */
export function checkStart({ init }: MethodSettings, names: readonly string[]): void {
  if (init === undefined || names.includes(init)) return;
  throw new OptionError(`init is '${init}': expected ${names.join(', ')}.${didYouMean(init, names)}`, {
    option: 'init',
    actual: init,
    expected: names,
  });
}

/** Throws OptionError where a site has fewer directions than the rank. */
export function checkRank({ rank }: MethodSettings, { path, inputs, outputs }: SiteShape, start: string): void {
  const most = Math.min(inputs, outputs);
  if (rank > most)
    throw new OptionError(
      `rank is ${rank}: ${path} is ${outputs} x ${inputs}, and '${start}' takes directions of it: expected at most ${most}`,
      {
        option: 'rank',
        actual: rank,
        expected: most,
      },
    );
}
