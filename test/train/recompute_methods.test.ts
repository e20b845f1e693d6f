// What is computed again instead of kept changes no gradient of any method.
import { describe, expect, it } from 'vitest';
import { randomTokens } from '../engine/driving.ts';
import { batchOfDocuments, type OneAdapter, trainOne } from './driving_training.ts';
import { otherCases } from './other_trainable_cases.ts';

const batch = batchOfDocuments([randomTokens(19, 96, 1), randomTokens(8, 96, 2)]);

async function gradientsOf({ runner }: OneAdapter): Promise<Map<string, Float32Array>> {
  await runner.accumulate(batch);
  const { adapter, read } = runner.adapterNamed('own');
  const found = new Map<string, Float32Array>();
  for (const { path, spec } of adapter.stored.parameters)
    if (spec.trained) found.set(`${path} ${spec.part}`, (await read(path, 'gradients')).get(spec.part) as Float32Array);
  return found;
}

describe.each(otherCases)('$name', ({ options, model }) => {
  it('has the same gradients when layers are computed again', async () => {
    using kept = await trainOne({ ...options, recompute: 'none' }, [batch], model);
    using again = await trainOne({ ...options, recompute: 'layer' }, [batch], model);
    const wanted = await gradientsOf(kept);
    for (const [name, gradient] of await gradientsOf(again)) {
      const norm = Math.hypot(...(wanted.get(name) as Float32Array));
      const apart = Math.hypot(...gradient.map((value, i) => value - ((wanted.get(name) as Float32Array)[i] as number)));
      expect(apart, name).toBeLessThanOrEqual(1e-6 * norm);
    }
  });
});
