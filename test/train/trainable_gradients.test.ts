// Gradients of every trainable method's parameters against central differences of the evaluated loss.
import { describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.js';
import { loraScale } from '../../lib/adapters/methods/lora_training.js';
import { openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { randomTokens } from '../engine/driving.js';
import { uniform } from '../kernels/numbers.js';
import { batchOfDocuments, type OneAdapter, steps, tinyLlama, trainOne } from './driving_training.js';
import { trainableCases } from './trainable_cases.js';

const batch = batchOfDocuments([randomTokens(29, 256, 3), randomTokens(11, 256, 4)]);
const step = 2 ** -7;

async function lossOf({ runner }: OneAdapter): Promise<number> {
  const { logprobs } = await runner.evaluate(batch);
  return -logprobs.reduce((sum, v) => sum + v, 0) / logprobs.length;
}

/** Lengths of the rows of W + s B A, in float64: what DoRA's gradient holds constant. */
async function rowLengths({ runner, settings }: OneAdapter, path: string, model: string): Promise<Float64Array> {
  const folder = await openHuggingFaceFolder(model);
  const base = CheckpointBase.of(folder, runner.sites);
  const site = runner.sites.find((one) => one.path === path) as (typeof runner.sites)[number];
  const weight = await base.readRows(site, 0, site.outputs);
  folder.dispose();
  const values = await runner.adapterNamed('own').read(path);
  const a = values.get('A') as Float32Array;
  const bT = values.get('bT') as Float32Array;
  return Float64Array.from({ length: site.outputs }, (_, n) => {
    let squares = 0;
    for (let i = 0; i < site.inputs; i++) {
      let sum = weight[n * site.inputs + i] as number;
      for (let j = 0; j < settings.rank; j++)
        sum += loraScale(settings) * (bT[j * site.outputs + n] as number) * (a[j * site.inputs + i] as number);
      squares += sum ** 2;
    }
    return Math.sqrt(squares);
  });
}

describe.each(trainableCases.filter(({ differentiable = true }) => differentiable))('$name', ({ options, rate, model = tinyLlama }) => {
  it('has the gradients of its loss', { timeout: 120_000 }, async () => {
    using own = await trainOne(options, [batch], model);
    // Away from the beginning, where half of the gradients are zero.
    await steps(own, batch, 3, rate);
    await own.runner.accumulate(batch);
    const { adapter, read, write } = own.runner.adapterNamed('own');
    // What is frozen has no part in the norm that gradients are clipped by.
    for (const { path, spec } of adapter.stored.parameters.filter(({ spec: { trained } }) => !trained))
      expect(
        (await read(path, 'gradients')).get(spec.part)?.every((value) => value === 0),
        `${path} ${spec.part}`,
      ).toBe(true);
    const random = uniform(7);
    for (const { path, spec } of adapter.stored.parameters.filter(({ spec: { trained } }) => trained)) {
      const gradient = (await read(path, 'gradients')).get(spec.part) as Float32Array;
      const start = (await read(path)).get(spec.part) as Float32Array;
      const lengths = options.method === 'dora' && spec.part !== 'magnitude' ? await rowLengths(own, path, model) : undefined;
      const magnitude = lengths && ((await read(path)).get('magnitude') as Float32Array);
      const at = async (values: Float32Array): Promise<number> => {
        await write(path, spec.part, values);
        if (lengths !== undefined && magnitude !== undefined) {
          const now = await rowLengths(own, path, model);
          await write(
            path,
            'magnitude',
            magnitude.map((m, n) => (m * (now[n] as number)) / (lengths[n] as number)),
          );
        }
        return lossOf(own);
      };
      const largest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(largest, `${path} ${spec.part}`).toBeGreaterThan(1e-5);
      // Random signs, and the gradient's own direction: the first sees parts that are missing, the second has the least noise.
      for (const mix of [0, 1]) {
        const direction = gradient.map((value) => mix * (value / largest) + (1 - mix) * (random() < 0.5 ? -1 : 1) * (0.5 + random()));
        const length = Math.hypot(...direction);
        const expected = gradient.reduce((sum, value, i) => sum + value * ((direction[i] as number) / length), 0);
        const moved = (h: number): Float32Array => start.map((value, i) => value + (h * (direction[i] as number)) / length);
        const h = step * Math.max(1, Math.hypot(...start));
        const difference = ((await at(moved(h))) - (await at(moved(-h)))) / (2 * h);
        const norm = Math.hypot(...gradient);
        expect(Math.abs(difference - expected), `${path} ${spec.part}, mix ${mix}: ${difference} and ${expected}`).toBeLessThan(
          1e-2 * norm + 2e-6,
        );
      }
      await at(start);
      if (magnitude) await write(path, 'magnitude', magnitude);
    }
  });
});
