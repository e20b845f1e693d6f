import { describe, expect, it } from 'vitest';
import { checkEnvironment } from '../../lib/runtime/environment.ts';
import { heddle } from '../cli/run_cli.ts';

const targets = ['baseline', 'avx2'];

describe('the environment', () => {
  it.each(['abc', '0', '-1', '1.5', '1025', ' 2'])('HEDDLE_THREADS=%s is refused', (threads) => {
    expect(() => checkEnvironment(targets, { HEDDLE_THREADS: threads })).toThrow(
      `HEDDLE_THREADS is '${threads}': expected a whole number from 1 to 1024`,
    );
  });
  it.each(['foo', 'avx512', 'AVX2'])('HEDDLE_CPU_TARGET=%s is refused where the machine lacks it', (target) => {
    expect(() => checkEnvironment(targets, { HEDDLE_CPU_TARGET: target })).toThrow(
      `HEDDLE_CPU_TARGET is '${target}': this machine has baseline, avx2`,
    );
  });
  it('may say what can be, or nothing', () => {
    for (const env of [{}, { HEDDLE_THREADS: '', HEDDLE_CPU_TARGET: '' }, { HEDDLE_THREADS: '1024', HEDDLE_CPU_TARGET: 'avx2' }])
      expect(() => checkEnvironment(targets, env)).not.toThrow();
  });
  it('is looked at before anything is done', async () => {
    const { code, stdout, stderr } = await heddle(['inspect'], { env: { HEDDLE_CPU_TARGET: 'foo' } });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const json = await heddle(['inspect', '--json'], { env: { HEDDLE_THREADS: 'x' } });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'ERR_HEDDLE_OPTION' } });
    expect(stderr).toMatch(/^heddle: HEDDLE_CPU_TARGET is 'foo': this machine has \w+/);
  });
});
