import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { deviceInfo } from '../engine/device.js';
import { supportedModelTypes } from '../models/index.js';
import { packageRoot } from '../runtime/load_binding.js';
import { type Findings, formatFacts } from './inspect_facts.js';
import { formatAmount } from './progress.js';

/** What this machine and this installation are. Throws DeviceError when the native library cannot be loaded. */
export function inspectDevice(): Findings {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const { target, targets, threads } = deviceInfo();
  const binary = (createRequire(import.meta.url)('node-gyp-build') as { resolve(folder: string): string }).resolve(root);
  const processor = cpus()[0]?.model.trim() ?? 'unknown';
  const json = {
    kind: 'device',
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    binary,
    processor,
    memoryBytes: totalmem(),
    target,
    targets,
    threads,
    modelTypes: supportedModelTypes,
  };
  const text = formatFacts(`heddle ${version}`, [
    ['native binary', binary],
    ['Node.js', `${process.version}, ${json.platform}`],
    ['processor', processor],
    ['memory', formatAmount(json.memoryBytes, 'bytes')],
    ['instruction set', `${target} (this machine has ${targets.join(', ')})`],
    ['threads', threads],
    ['model types', supportedModelTypes.join(', ')],
  ]);
  return { json, text };
}
