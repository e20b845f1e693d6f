import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { cachedSnapshot, hubEnvironment, isHubId } from '../checkpoint/hub_cache.js';
import { FileAccessError, ModelError } from '../errors.js';
import { inspectAdapterFolder } from './inspect_adapter.js';
import { inspectDevice, inspectDevices } from './inspect_device.js';
import type { Findings } from './inspect_facts.js';
import { inspectModelFolder } from './inspect_model.js';
import { inspectSafetensors } from './inspect_safetensors.js';
import { printJson } from './output.js';

interface InspectFlags {
  all?: boolean;
  devices?: boolean;
  json?: boolean;
}

/** `heddle inspect`: what a folder or file is, without loading weights; without an argument, what this machine is. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('what a model or adapter folder or a safetensors file is, without loading weights')
    .argument('[path]', 'model or adapter folder, .safetensors file, or org/name in the Hugging Face cache; none: this machine')
    .option('--devices', 'what models can run on: the processor, and the CUDA devices or why there is none')
    .option('--all', 'every tensor of a safetensors file, not the first forty')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  heddle inspect                     processor, instruction sets, threads, native binary
  heddle inspect --devices           CUDA devices: compute capability, memory, driver
  heddle inspect ./llama             architecture, parameters, layers, heads, context, tokenizer, files
  heddle inspect ./adapters/sql      kind, rank, targets, parameters, base
  heddle inspect ./llama/model.safetensors --all`,
    )
    .action(async (path: string | undefined, { all = false, devices, json }: InspectFlags, command: Command) => {
      if (devices && path !== undefined) command.error('error: give only one of a path and --devices');
      const findings = devices ? inspectDevices() : path === undefined ? inspectDevice() : await inspectPath(path, all);
      if (json) printJson(findings.json);
      else process.stdout.write(`${findings.text}\n`);
    });
}

async function inspectPath(path: string, all: boolean): Promise<Findings> {
  const facts = await stat(path).catch(() => undefined);
  if (facts?.isDirectory()) return inspectFolder(path);
  if (facts !== undefined) return inspectSafetensors(path, all);
  const { cacheFolder } = hubEnvironment();
  const cached = isHubId(path) ? await cachedSnapshot(cacheFolder, path, 'main') : undefined;
  if (cached !== undefined) return inspectFolder(cached);
  throw new FileAccessError(`there is no file or folder ${path}${isHubId(path) ? `, and no model of that name in ${cacheFolder}` : ''}`, {
    path,
  });
}

async function inspectFolder(folder: string): Promise<Findings> {
  const has = (name: string): Promise<boolean> =>
    stat(join(folder, name)).then(
      () => true,
      () => false,
    );
  // Some trainers put the base's config.json beside the adapter.
  if (await has('adapter_config.json')) return inspectAdapterFolder(folder);
  if (await has('config.json')) return inspectModelFolder(folder);
  throw new ModelError(`${folder} is neither a model nor an adapter: it has no config.json and no adapter_config.json`, { folder });
}
