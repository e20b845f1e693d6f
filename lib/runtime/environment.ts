import { OptionError } from '../errors.js';

/** Throws OptionError where HEDDLE_THREADS or HEDDLE_CPU_TARGET say what cannot be: the native library would pass over it. */
export function checkEnvironment(targets: readonly string[], { HEDDLE_THREADS: threads, HEDDLE_CPU_TARGET: target } = process.env): void {
  if (threads && !(/^\d+$/.test(threads) && Number(threads) >= 1 && Number(threads) <= 1024))
    throw new OptionError(`HEDDLE_THREADS is '${threads}': expected a whole number from 1 to 1024`, {
      option: 'HEDDLE_THREADS',
      actual: threads,
    });
  if (target && !targets.includes(target))
    throw new OptionError(`HEDDLE_CPU_TARGET is '${target}': this machine has ${targets.join(', ')}`, {
      option: 'HEDDLE_CPU_TARGET',
      actual: target,
      expected: [...targets],
    });
}
