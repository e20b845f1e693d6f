import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { type TensorToWrite, writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { AbortError, DisposedError, FileAccessError, FileFormatError, OptionError } from '../../lib/errors.js';
import { failure } from './failure.js';

const hostile = join(dirname(fileURLToPath(import.meta.url)), '../fixtures/hostile/safetensors');
const folder = mkdtempSync(join(tmpdir(), 'heddle-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));

const accepted = ['empty_obj', 'lead_ws', 'meta_null', 'misaligned_start_F32', 'name_path', 'unknown_field', 'valid', 'zero_dim'];

const floats = (name: string, values: number[], shape = [values.length]): TensorToWrite => {
  return { name, dtype: 'F32', shape, data: Float32Array.from(values) };
};

describe('hostile files', () => {
  it('get their verdicts, each refusal naming the file and the rule', async () => {
    const names = readdirSync(hostile).map((name) => name.replace('.safetensors', ''));
    expect(names).toHaveLength(37);
    for (const name of names) {
      const path = join(hostile, `${name}.safetensors`);
      if (accepted.includes(name)) {
        using file = await openSafetensors(path);
        for (const tensor of file.names()) await file.read(tensor);
      } else {
        const error = await failure(openSafetensors(path));
        expect(error, name).toBeInstanceOf(FileFormatError);
        expect(error.details, name).toMatchObject({ file: path, rule: expect.stringMatching(/^[a-z0-9-]+$/) });
        expect(error.message.startsWith(`${path}: ${error.details.rule}: `), error.message).toBe(true);
        expect(error.message.length).toBeLessThan(path.length + 400);
      }
    }
  });

  it('say what overlaps what', async () => {
    const error = await failure(openSafetensors(join(hostile, 'overlap.safetensors')));
    expect(error.message).toContain('overlap: tensor "b" begins at 0 of the data, but tensor "a" ends at 16');
  });

  it('with a header above the limit can be let in, up to 100 MB', async () => {
    const path = join(folder, 'padded.safetensors');
    const header = Buffer.alloc(2008, ' ');
    header.writeBigUInt64LE(2000n);
    header.write('{}', 8);
    writeFileSync(path, header);
    expect((await failure(openSafetensors(path, { maxHeaderBytes: 1999 }))).details.rule).toBe('header-limit');
    (await openSafetensors(path, { maxHeaderBytes: 2000 })).dispose();
    for (const maxHeaderBytes of [0, -1, 1.5, 100_000_001, Number.NaN])
      expect(await failure(openSafetensors(path, { maxHeaderBytes }))).toBeInstanceOf(OptionError);
  });

  it('that cannot be read say so', async () => {
    for (const path of [join(folder, 'none'), folder, '/dev/null', 'a\0b'])
      expect(['ERR_HEDDLE_IO', 'ERR_HEDDLE_OPTION']).toContain((await failure(openSafetensors(path))).code);
    expect(await failure(openSafetensors(join(folder, 'none')))).toBeInstanceOf(FileAccessError);
  });
});

describe('files', () => {
  it('come back as they were written', async () => {
    const path = join(folder, 'round.safetensors');
    const tensors: TensorToWrite[] = [
      floats('b', [1, 2, 3, 4], [2, 2]),
      { name: 'bytes', dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) },
      { name: '__proto__', dtype: 'I64', shape: [], data: BigInt64Array.of(-5n) },
      { name: 'none', dtype: 'BF16', shape: [0, 4], data: new ArrayBuffer(0) },
      { name: '7', dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) },
    ];
    await writeSafetensors(path, tensors, JSON.parse('{"format":"pt","__proto__":"x","note":"é😀"}'));
    using file = await openSafetensors(path);
    expect([...file.names()].sort()).toEqual(['7', '__proto__', 'b', 'bytes', 'none']);
    expect([...file.metadata].sort()).toEqual([
      ['__proto__', 'x'],
      ['format', 'pt'],
      ['note', 'é😀'],
    ]);
    expect(file.info('b')).toMatchObject({ dtype: 'F32', shape: [2, 2] });
    expect(file.info('none')).toMatchObject({ dtype: 'BF16', shape: [0, 4] });
    expect(file.info('missing')).toBeUndefined();
    expect(new Float32Array(await file.read('b'))).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(new BigInt64Array(await file.read('__proto__'))).toEqual(BigInt64Array.of(-5n));
    expect((await file.read('none')).byteLength).toBe(0);
    expect(new Uint8Array(await file.read('bytes'))).toEqual(Uint8Array.of(1, 2, 3));
    expect((file.info('__proto__')?.begin ?? 1) % 8).toBe(0);
    expect((file.info('b')?.begin ?? 1) % 4).toBe(0);
    expect((await failure(file.read('missing'))).message).toContain('there is no tensor "missing"');
  });

  it('have equal bytes for equal tensors, in any order', async () => {
    const [one, two] = [join(folder, 'one'), join(folder, 'two')];
    const tensors = [floats('a', [1]), floats('b', [2]), { name: 'c', dtype: 'F64', shape: [1], data: Float64Array.of(3) }];
    await writeSafetensors(one, tensors);
    await writeSafetensors(two, [...tensors].reverse());
    expect(readFileSync(one).equals(readFileSync(two))).toBe(true);
  });

  it('cannot be used after dispose, while reads that have begun still finish', async () => {
    const path = join(folder, 'closed.safetensors');
    await writeSafetensors(path, [floats('a', Array(1000).fill(7))]);
    const file = await openSafetensors(path);
    const begun = file.read('a');
    file.dispose();
    file.dispose();
    expect(new Float32Array(await begun)[999]).toBe(7);
    expect(file.disposed).toBe(true);
    expect(await failure(file.read('a'))).toBeInstanceOf(DisposedError);
  });

  it('cut short while open give an error, not a crash', async () => {
    const path = join(folder, 'cut.safetensors');
    await writeSafetensors(path, [floats('a', Array(100_000).fill(1)), floats('b', Array(100_000).fill(2))]);
    using file = await openSafetensors(path);
    truncateSync(path, 500_000);
    expect(new Float32Array(await file.read('a'))[0]).toBe(1);
    const error = await failure(file.read('b'));
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.message).toContain('shrank while being read');
  });

  it('replaced while open keep their old content', async () => {
    const path = join(folder, 'replaced.safetensors');
    await writeSafetensors(path, [floats('a', [1])]);
    using file = await openSafetensors(path);
    await writeSafetensors(path, [floats('a', [2])]);
    expect(new Float32Array(await file.read('a'))[0]).toBe(1);
    using now = await openSafetensors(path);
    expect(new Float32Array(await now.read('a'))[0]).toBe(2);
  });

  it('leave no descriptor behind', async () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const before = count();
    for (let i = 0; i < 200; i++) (await openSafetensors(join(hostile, 'valid.safetensors'))).dispose();
    for (let i = 0; i < 200; i++) await failure(openSafetensors(join(hostile, 'hole.safetensors')));
    expect(count()).toBeLessThanOrEqual(before + 2);
  });
});

describe('writing', () => {
  it('refuses what no reader would take', async () => {
    const path = join(folder, 'refused.safetensors');
    const cases: [string, TensorToWrite[], Record<string, string>?][] = [
      ['appears twice', [floats('a', [1]), floats('a', [1])]],
      ['needs 8', [floats('a', [1], [2])]],
      ['unknown dtype', [{ name: 'a', dtype: 'F33', shape: [1], data: new ArrayBuffer(4) }]],
      ['__metadata__', [floats('__metadata__', [1])]],
      ['at most 1024 bytes', [floats('n'.repeat(1025), [1])]],
      ['expected integers', [floats('a', [], [-1])]],
      ['expected a string', [], { key: 1 as unknown as string }],
    ];
    for (const [message, tensors, metadata] of cases) {
      const error = await failure(writeSafetensors(path, tensors, metadata));
      expect(error).toBeInstanceOf(OptionError);
      expect(error.message).toContain(message);
    }
    expect(readdirSync(folder).filter((name) => name.includes('refused'))).toEqual([]);
  });

  it('keeps the permission bits of what it replaces', async () => {
    const path = join(folder, 'mode.safetensors');
    closeSync(openSync(path, 'w', 0o640));
    await writeSafetensors(path, [floats('a', [1])]);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it('leaves the old file and no rubbish when it fails or is aborted', async () => {
    const path = join(folder, 'kept.safetensors');
    await writeSafetensors(path, [floats('a', [1])]);
    const before = readFileSync(path);
    const aborted = writeSafetensors(path, [floats('a', [2])], {}, { signal: AbortSignal.abort() });
    expect(await failure(aborted)).toBeInstanceOf(AbortError);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(await failure(writeSafetensors(join(folder, 'no/such/folder'), []))).toBeInstanceOf(FileAccessError);
    expect(await failure(writeSafetensors(folder, []))).toBeInstanceOf(FileAccessError);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});
