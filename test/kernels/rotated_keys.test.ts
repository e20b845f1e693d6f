// Keys that kv_write rotates have the bits of rope's: on every CPU target and on a CUDA device.
import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { cpu, type Device } from '../../lib/runtime/device.js';
import { Scene, tokensOf, wholePrompts } from './attention.scene.ts';
import { f32, runOp } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { testedCuda, testsCpu } from './test_devices.ts';

const bytes = ({ written }: Record<string, Float64Array>): Buffer => Buffer.from((written as Float64Array).buffer);

async function compareOn(device: Device): Promise<void> {
  for (const interleaved of [false, true])
    for (const [width, rotary, lengths] of [
      [13, 6, [17, 5]],
      [64, 64, [9]],
      [301, 258, [40]],
    ] as const) {
      const scene = new Scene({ lengths: [...lengths], keyHeads: 2, width });
      const { inputs, attrs } = scene.write(lengths.length === 1 ? tokensOf(0, 0, lengths[0]) : wholePrompts([...lengths]));
      const k = inputs.k as (typeof inputs)[string];
      const table = f32([k.dims[0] as number, rotary], randomNormal((k.dims[0] as number) * rotary, width));
      const turned = await runOp('rope', { name: 'apart', inputs: { x: k, table }, attrs: { interleaved, inverse: false } }, device);
      const rotated = f32(k.dims, turned.y as Float64Array);
      const apart = await runOp('kv_write', { name: 'apart', inputs: { ...inputs, k: rotated }, attrs }, device);
      const plain = await runOp('kv_write', { name: 'plain', inputs, attrs }, device);
      const together = await runOp(
        'kv_write',
        { name: 'together', inputs: { ...inputs, table }, attrs: { ...attrs, interleaved } },
        device,
      );
      // Byte by byte in one go: a deep comparison of whole pools takes seconds.
      expect(bytes(together).equals(bytes(apart)), `rotary ${rotary} of ${width}`).toBe(true);
      expect(bytes(together).equals(bytes(plain)), `rotary ${rotary} of ${width}: not rotated`).toBe(false);
    }
}

describe('rotation on the way into the cache has the bits of rope before it', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(async () => {
    await native.setCpuTarget(best);
  });
  for (const target of testsCpu ? native.cpu().targets : [])
    it(target, async () => {
      await native.setCpuTarget(target);
      await compareOn(cpu);
    });
  it.runIf(testedCuda !== undefined)('cuda', () => compareOn(testedCuda as Device));
});
