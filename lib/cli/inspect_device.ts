import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { cudaInfo, deviceInfo } from '../engine/device.js';
import { supportedModelTypes } from '../models/index.js';
import { packageRoot } from '../runtime/load_binding.js';
import { type Findings, formatFacts } from './inspect_facts.js';
import { formatAmount } from './progress.js';
import { formatTable } from './table.js';

/** What this machine and this installation are. Throws DeviceError when the native library cannot be loaded. */
export function inspectDevice(): Findings {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const { target, targets, threads } = deviceInfo();
  const binary = (createRequire(import.meta.url)('node-gyp-build') as { resolve(folder: string): string }).resolve(root);
  const processor = processorName();
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

const processorName = (): string => cpus()[0]?.model.trim() ?? 'unknown';

/** What models can run on here. Throws DeviceError when the native library cannot be loaded. */
export function inspectDevices(): Findings {
  const { target, targets, threads } = deviceInfo();
  const cuda = cudaInfo();
  const processor = processorName();
  const json = { kind: 'devices', processor, memoryBytes: totalmem(), target, targets, threads, cuda };
  const bytes = (value: number): string => formatAmount(value, 'bytes');
  const facts = formatFacts('cpu', [
    ['processor', processor],
    ['memory', bytes(json.memoryBytes)],
    ['instruction set', `${target} (this machine has ${targets.join(', ')})`],
    ['threads', threads],
  ]);
  if (cuda.error !== undefined) return { json, text: `${facts}\n\ncuda: none\n  ${cuda.error.message} (${cuda.error.code})` };
  const rows = cuda.devices.map((one) => [
    one.device,
    one.name,
    one.computeCapability,
    `${bytes(one.freeBytes)} free of ${bytes(one.totalBytes)}`,
    `driver ${one.driverVersion}, runtime ${one.runtimeVersion}`,
    one.linearLibrary,
  ]);
  const header = ['device', 'name', 'compute', 'memory', 'CUDA', 'large matrices'];
  return { json, text: `${facts}\n\n${formatTable(rows, { header })}\n\nCUDA library  ${cuda.library}` };
}
