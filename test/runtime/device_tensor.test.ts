// Tensors in native memory and their buffers: what does not fit is refused where it is given, with an error of heddle.
import { describe, expect, it } from 'vitest';
import {
  compile,
  DisposedError,
  DTypeError,
  emptyTensor,
  graph,
  OptionError,
  ops,
  packedWeight,
  ShapeError,
  tensor,
} from '../../lib/index.js';

const as = <T>(value: unknown): T => value as T;

describe('a tensor in native memory refuses', () => {
  it('arrays of another type', async () => {
    for (const data of [new Float64Array([1, 2, 3, 4]), Int32Array.of(1, 2, 3, 4), [1, 2, 3, 4]]) {
      await expect(packedWeight(as(data), 2, 2)).rejects.toThrow(DTypeError);
      expect(() => tensor('f32', [4], as(data))).toThrow(DTypeError);
    }
    await expect(packedWeight(as(new Float64Array(4)), 2, 2)).rejects.toThrow(
      'the weight is f32: expected a Float32Array, got Float64Array',
    );
  });

  it('sizes that are none, and element types that are not known', async () => {
    for (const size of [1.5, Number.NaN, -1, '2', undefined]) {
      expect(() => emptyTensor('f32', [as(size)])).toThrow(ShapeError);
      expect(() => tensor('f32', [as(size), as(size)], new Float32Array(1))).toThrow(ShapeError);
      await expect(packedWeight(new Float32Array(1), as(size), as(size))).rejects.toThrow(ShapeError);
    }
    expect(() => tensor('f32', [-1, -1], new Float32Array(1))).toThrow(
      'a tensor [-1, -1] has a dimension of -1: expected a whole number, 0 or more',
    );
    expect(() => emptyTensor('f32', [2 ** 30, 2 ** 30])).toThrow('a tensor [1073741824, 1073741824] is larger than any memory');
    expect(() => emptyTensor(as('f23'), [1])).toThrow(
      "the tensor has the dtype 'f23': expected f32, f16, bf16, i32, u8. Did you mean 'f32'?",
    );
  });

  it('arrays whose memory is shared or gone', () => {
    expect(() => tensor('f32', [2], new Float32Array(new SharedArrayBuffer(8)))).toThrow('the tensor lies in a SharedArrayBuffer');
    const gone = new Float32Array(2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(() => tensor('f32', [0], gone)).toThrow('the tensor is detached');
  });
});

describe('a buffer', () => {
  it('refuses bytes that are not its own', async () => {
    const { buffer } = tensor('f32', [2], Float32Array.of(1, 10));
    for (const [offset, bytes] of [
      [0, 9],
      [8, 1],
      [-4, 4],
      [0.5, 4],
      [0, Number.NaN],
    ] as const)
      await expect(buffer.read(offset, bytes)).rejects.toThrow(OptionError);
    await expect(buffer.read(4, 8)).rejects.toThrow('buffer.read: 8 bytes from byte 4 on do not lie within the buffer of 8');
    await expect(buffer.write(4, Float32Array.of(1, 2))).rejects.toThrow(OptionError);
    await expect(buffer.write(0, as([1]))).rejects.toThrow('buffer.write: data is [1]: expected a typed array');
    await expect(buffer.write(0, new Uint8Array(new SharedArrayBuffer(4)))).rejects.toThrow(OptionError);
    expect(new Float32Array(await buffer.read(0, 8))).toEqual(Float32Array.of(1, 10));
    buffer.dispose();
  });

  it('is not used after dispose, nor compiled', async () => {
    const w = tensor('f32', [2], Float32Array.of(1, 10));
    const g = graph();
    const y = ops.scale(g.weight('w', w), 2);
    w.buffer.dispose();
    await expect(w.buffer.read(0, 4)).rejects.toThrow(DisposedError);
    await expect(w.buffer.write(0, Float32Array.of(1))).rejects.toMatchObject({ code: 'ERR_HEDDLE_DISPOSED' });
    expect(() => compile(g, { outputs: { y } })).toThrow(DisposedError);
  });
});
