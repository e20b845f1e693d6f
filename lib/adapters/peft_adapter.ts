import { createHash, type Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { AdapterError } from '../errors.js';
import { shownValue } from '../runtime/shown_value.js';
import { expectComplete } from './expect_complete.js';
import type {
  AdapterBase,
  AdapterMethod,
  AdapterParts,
  AdapterSummary,
  AdapterTensor,
  IntegerTensor,
  PrefixKeysValues,
  SiteChange,
  SiteParts,
  SiteRequest,
  TensorSource,
} from './method.js';
import { methods } from './methods/index.js';
import { readIntegers, readTensor, type SortedTensors, sitesOf, sortTensors } from './peft_tensors.js';
import { siteParts } from './site_parts.js';
import { SiteTensorReader } from './site_tensor_reader.js';

/** What adapter_config.json says. */
export interface PeftConfig {
  /** Name of the adapter in messages. */
  readonly adapter: string;
  readonly method: AdapterMethod;
  readonly options: unknown;
  /** All that the file says. */
  readonly written: Readonly<Record<string, unknown>>;
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
    throw new AdapterError(`${adapter}: peft_type is ${shownValue(type, 'missing')}: supported are ${[...methods.keys()].join(', ')}`, {
      option: 'peft_type',
      actual: type,
      expected: [...methods.keys()],
    });
  const modules = options.modules_to_save ?? [];
  if (!Array.isArray(modules) || modules.some((name) => typeof name !== 'string'))
    throw new AdapterError(`${adapter}: modules_to_save is ${shownValue(modules, 'missing')}: expected a list of module names`, {
      option: 'modules_to_save',
      actual: modules,
    });
  const base = options.base_model_name_or_path;
  return {
    adapter,
    method,
    options: method.readConfig(options, adapter),
    written: options,
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
  const read = async (name: string, path: string): Promise<AdapterTensor> => {
    const tensor = await readTensor(source, name, adapter);
    await hashTensor(hash, path, tensor);
    return tensor;
  };
  const readParts = async (names: ReadonlyMap<string, string>, path: string): Promise<Map<string, AdapterTensor | IntegerTensor>> => {
    const parts = new Map<string, AdapterTensor | IntegerTensor>();
    for (const [part, name] of names) {
      const whole = method.integerParts?.includes(part) ?? false;
      const tensor = await (whole ? readIntegers : readTensor)(source, name, adapter);
      await hashTensor(hash, path, tensor);
      parts.set(part, tensor);
    }
    return parts;
  };
  const shared = await readParts(sorted.shared, '');
  let prefix: PrefixKeysValues | undefined;
  let virtualTokens = 0;
  const found = sitesOf(sorted, base, config);
  for (const { site, module, tensors, saved } of found) {
    if (config.tiesWeights && base.sites.some((other) => other !== site && other.weight === site.weight))
      throw new AdapterError(`${adapter}: ensure_weight_tying is true and ${site.path} is tied in ${base.name}, which is not supported`, {
        option: 'ensure_weight_tying',
        module: site.path,
      });
    const request = { adapter, base: base.name, cache: base.cache, site, module };
    let change: SiteChange | undefined;
    if (tensors.size > 0) {
      expectSiteKind(method, request, tensors);
      const parts = new SiteTensorReader(request, method.describe(options), await readParts(tensors, site.path), shared);
      change = await method.read(options, request, parts);
      parts.finish();
    }
    const weight = saved.weight === undefined ? undefined : await read(saved.weight, site.path);
    const bias = saved.bias === undefined ? undefined : await read(saved.bias, site.path);
    if (change?.kind === 'prefix') prefix = change;
    if (change?.kind === 'virtual') virtualTokens = change.rows.count;
    const made = await siteParts(request, base, { weight, bias }, change);
    if (made !== undefined) sites.set(site.path, made);
  }
  // What does not fit is told first.
  expectComplete(config, found, base);
  const summary = summarise(config, sorted, source);
  return { contentHash: hash.digest('hex'), summary, sites, virtualTokens: prefix?.tokens ?? virtualTokens, prefix };
}

// Large tensors in slices of some milliseconds.
async function hashTensor(hash: Hash, path: string, { name, dtype, shape, data }: AdapterTensor | IntegerTensor): Promise<void> {
  const slice = 4 << 20;
  hash.update(JSON.stringify([path, name, dtype, shape]));
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at < bytes.length; at += slice) {
    if (at > 0) await setImmediate();
    hash.update(bytes.subarray(at, at + slice));
  }
}

function expectSiteKind(method: AdapterMethod, { adapter, base, site }: SiteRequest, tensors: ReadonlyMap<string, string>): void {
  if (method.sites.includes(site.kind)) return;
  const tensor = [...tensors.values()][0];
  throw new AdapterError(
    `${adapter} does not fit ${base}: ${tensor} is for ${method.sites.join(' and ')} modules, but ${site.path} is a ${site.kind}`,
    { tensor, base, actual: site.kind, expected: [...method.sites] },
  );
}

/** What an adapter is, from its configuration and the names and shapes of its tensors. */
export function inspectPeftAdapter(config: PeftConfig, source: TensorSource): AdapterSummary {
  return summarise(config, sortTensors(source, config), source);
}

const elementBytes: Readonly<Record<string, number>> = { U8: 1, F16: 2, BF16: 2, I16: 2, F32: 4, I32: 4, I64: 8 };

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
    bytes += elements * (elementBytes[info?.dtype ?? ''] ?? 2);
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
