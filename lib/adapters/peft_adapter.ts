import { createHash, type Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { AdapterError } from '../errors.js';
import type {
  AdapterBase,
  AdapterMethod,
  AdapterParts,
  AdapterSummary,
  AdapterTensor,
  SiteParts,
  SiteRequest,
  TensorSource,
} from './method.js';
import { methods } from './methods/index.js';
import { readTensor, type SortedTensors, sitesOf, sortTensors } from './peft_tensors.js';
import { siteParts } from './site_parts.js';

/** What adapter_config.json says. */
export interface PeftConfig {
  /** Name of the adapter in messages. */
  readonly adapter: string;
  readonly method: AdapterMethod;
  readonly options: unknown;
  readonly base: string | undefined;
  readonly modulesToSave: readonly string[];
  readonly tiesWeights: boolean;
}

/** Checks a parsed adapter_config.json. Throws AdapterError that names the option. */
export function readPeftConfig(raw: unknown, adapter: string): PeftConfig {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    throw new AdapterError(`${adapter}: adapter_config.json is no JSON object`, { actual: raw });
  const options = raw as Record<string, unknown>;
  const type = options.peft_type;
  const method = typeof type === 'string' ? methods.get(type.toUpperCase()) : undefined;
  if (method === undefined)
    throw new AdapterError(`${adapter}: peft_type is ${JSON.stringify(type)}: supported are ${[...methods.keys()].join(', ')}`, {
      option: 'peft_type',
      actual: type,
      expected: [...methods.keys()],
    });
  const modules = options.modules_to_save ?? [];
  if (!Array.isArray(modules) || modules.some((name) => typeof name !== 'string'))
    throw new AdapterError(`${adapter}: modules_to_save is ${JSON.stringify(modules)}: expected a list of module names`, {
      option: 'modules_to_save',
      actual: modules,
    });
  const base = options.base_model_name_or_path;
  return {
    adapter,
    method,
    options: method.readConfig(options, adapter),
    base: typeof base === 'string' ? base : undefined,
    modulesToSave: modules as string[],
    tiesWeights: options.ensure_weight_tying === true,
  };
}

/** Reads an adapter's tensors and fits them to a base. */
export async function loadPeftAdapter(config: PeftConfig, source: TensorSource, base: AdapterBase): Promise<AdapterParts> {
  const { adapter, method, options } = config;
  const sorted = sortTensors(source, config);
  const hash = createHash('sha256').update(JSON.stringify([method.peftType, method.identity(options), config.modulesToSave]));
  const sites = new Map<string, SiteParts>();
  for (const { site, module, tensors, saved } of sitesOf(sorted, base, config)) {
    if (config.tiesWeights && base.sites.some((other) => other !== site && other.weight === site.weight))
      throw new AdapterError(`${adapter}: ensure_weight_tying is true and ${site.path} is tied in ${base.name}, which is not supported`, {
        option: 'ensure_weight_tying',
        module: site.path,
      });
    const read = async (name: string): Promise<AdapterTensor> => {
      const tensor = await readTensor(source, name, adapter);
      await hashTensor(hash, site.path, tensor);
      return tensor;
    };
    const request = { adapter, base: base.name, site, module };
    const parts = new Map<string, AdapterTensor>();
    for (const [part, name] of tensors) parts.set(part, await read(name));
    const lowRank = parts.size === 0 ? undefined : method.read(options, notNorm(request, parts), parts);
    const weight = saved.weight === undefined ? undefined : await read(saved.weight);
    const bias = saved.bias === undefined ? undefined : await read(saved.bias);
    const made = await siteParts(request, base, { weight, bias }, lowRank);
    if (made !== undefined) sites.set(site.path, made);
  }
  return { contentHash: hash.digest('hex'), summary: summarise(config, sorted, source), sites };
}

// Large tensors in slices of some milliseconds.
async function hashTensor(hash: Hash, path: string, { name, dtype, shape, data }: AdapterTensor): Promise<void> {
  const slice = 4 << 20;
  hash.update(JSON.stringify([path, name, dtype, shape]));
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at < bytes.length; at += slice) {
    if (at > 0) await setImmediate();
    hash.update(bytes.subarray(at, at + slice));
  }
}

function notNorm(request: SiteRequest, parts: ReadonlyMap<string, AdapterTensor>): SiteRequest {
  const { adapter, base, site } = request;
  if (site.kind !== 'norm') return request;
  const tensor = [...parts.values()][0]?.name;
  throw new AdapterError(`${adapter} does not fit ${base}: ${tensor} is a factor, but ${site.path} is a norm`, { tensor, base });
}

/** What an adapter is, from its configuration and the names and shapes of its tensors. */
export function inspectPeftAdapter(config: PeftConfig, source: TensorSource): AdapterSummary {
  return summarise(config, sortTensors(source, config), source);
}

function summarise({ method, options, base }: PeftConfig, sorted: SortedTensors, source: TensorSource): AdapterSummary {
  const ranks = new Set<number>();
  const scales = new Set<number>();
  for (const [module, tensors] of sorted.factors) {
    const shapes = new Map([...tensors].map(([part, name]) => [part, source.info(name)?.shape ?? []] as const));
    const measured = method.measure(options, module, shapes);
    if (measured === undefined) continue;
    ranks.add(measured.rank);
    scales.add(measured.scale);
  }
  const modules = new Set([...sorted.factors.keys(), ...sorted.saved.keys()]);
  let parameters = 0;
  let bytes = 0;
  for (const name of source.names()) {
    const info = source.info(name);
    const elements = (info?.shape ?? []).reduce((count, size) => count * size, 1);
    parameters += elements;
    bytes += elements * (info?.dtype === 'F32' ? 4 : 2);
  }
  const ascending = (set: Set<number>): number[] => [...set].sort((a, b) => a - b);
  return {
    kind: method.describe(options),
    ranks: ascending(ranks),
    scales: ascending(scales),
    targets: [...new Set([...sorted.factors.keys()].map((path) => path.slice(path.lastIndexOf('.') + 1)))].sort(),
    modules: modules.size,
    savedModules: [...sorted.saved.keys()].sort(),
    parameters,
    bytes,
    base,
  };
}
