import { basename, join } from 'node:path';
import { pathInside, requiredInside } from '../checkpoint/contained_path.js';
import { readJsonFile } from '../checkpoint/json.js';
import { openSafetensors, type SafetensorsFile } from '../checkpoint/safetensors.js';
import { AdapterError } from '../errors.js';
import type { AdapterBase, AdapterParts, AdapterSummary, TensorSource } from './method.js';
import { inspectPeftAdapter, loadPeftAdapter, type PeftConfig, readPeftConfig } from './peft_adapter.js';

const configName = 'adapter_config.json';
const tensorsName = 'adapter_model.safetensors';
const configLimits = { maxBytes: 4 << 20, maxDepth: 16 };

/** Reads a PEFT folder and fits it to a base. Throws AdapterError that names the first tensor or option that does not fit. */
export async function loadPeftFolder(folder: string, base: AdapterBase): Promise<AdapterParts> {
  return withPeftFolder(folder, (config, source) => loadPeftAdapter(config, source, base));
}

/** What a PEFT folder holds, from its configuration and the names and shapes of its tensors. */
export async function inspectPeftFolder(folder: string): Promise<AdapterSummary> {
  return withPeftFolder(folder, async (config, source) => inspectPeftAdapter(config, source));
}

/** Opens a PEFT folder for `use`. Throws AdapterError, FileAccessError, FileFormatError. */
export async function withPeftFolder<T>(folder: string, use: (config: PeftConfig, source: TensorSource) => Promise<T>): Promise<T> {
  const adapter = basename(folder);
  const config = readPeftConfig(await readJsonFile(await requiredInside(folder, configName), configLimits), adapter);
  const file = await openPeftTensors(folder);
  try {
    return await use(config, file);
  } finally {
    file.dispose();
  }
}

/** Opens the tensors of a PEFT folder. Throws AdapterError where it has none, FileAccessError, FileFormatError. */
export async function openPeftTensors(folder: string): Promise<SafetensorsFile> {
  const file = await pathInside(folder, tensorsName);
  if (file !== undefined) return openSafetensors(file, { label: join(folder, tensorsName) });
  const adapter = basename(folder);
  if ((await pathInside(folder, 'adapter_model.bin')) !== undefined)
    throw new AdapterError(
      `${adapter} holds its tensors as adapter_model.bin, which can run code when it is read: convert it to ${tensorsName}, for example by saving it again with PEFT`,
      { folder },
    );
  throw new AdapterError(`${adapter} has no ${tensorsName}`, { folder, missing: tensorsName });
}
