import { AdapterError } from '../errors.js';
import { viewAs } from '../runtime/dtype.js';
import type { AdapterBase, AdapterMethod, AdapterTensor, FloatDType, IntegerTensor, SiteShape, TensorSource } from './method.js';

/** Names of an adapter's tensors by module path, as the file spells the paths. */
export interface SortedTensors {
  /** Module → part of the method → tensor. */
  readonly factors: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Part of the method → tensor that all modules share. */
  readonly shared: ReadonlyMap<string, string>;
  /** Module → whole weights. `wrapped`: saved by modules_to_save, so other modules with the same base weight keep it. */
  readonly saved: ReadonlyMap<string, { weight?: string; bias?: string; wrapped: boolean }>;
}

interface Naming {
  readonly adapter: string;
  readonly method: AdapterMethod;
  readonly modulesToSave: readonly string[];
}

const prefix = 'base_model.model.';
const savedName = /^(.+?)(\.base_layer|\.original_module|\.modules_to_save(?:\.([^.]+))?)?\.(weight|bias)$/;
const dtypes: Readonly<Record<string, FloatDType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** Sorts all tensors by module. Throws AdapterError that names the first one without a place. */
export function sortTensors(source: TensorSource, { adapter, method, modulesToSave }: Naming): SortedTensors {
  const factors = new Map<string, Map<string, string>>();
  const saved = new Map<string, { weight?: string; bias?: string; wrapped: boolean }>();
  let adapterName: string | undefined;
  const sameAdapter = (name: string, found: string | undefined): void => {
    if (found !== undefined && adapterName !== undefined && found !== adapterName)
      throw new AdapterError(
        `${adapter}: ${name} belongs to '${found}', but the tensors before it to '${adapterName}': one adapter per folder`,
        { tensor: name },
      );
    adapterName ??= found;
  };
  for (const name of [...source.names()].sort()) {
    const bare = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    const factor = method.split(bare);
    if (factor !== undefined) {
      sameAdapter(name, factor.adapterName);
      const parts = factors.get(factor.module) ?? new Map<string, string>();
      refuseTwice(adapter, parts.get(factor.part), name);
      factors.set(factor.module, parts.set(factor.part, name));
      continue;
    }
    const whole = savedName.exec(bare);
    if (whole === null) throw new AdapterError(`${adapter}: ${name} is no tensor of a ${method.peftType} adapter`, { tensor: name });
    const [, module, origin, found, kind] = whole as unknown as [string, string, string | undefined, string | undefined, 'weight' | 'bias'];
    // PEFT never loads what the wrapped module was before.
    if (origin === '.original_module') continue;
    sameAdapter(name, found);
    const wrapped = origin === undefined ? modulesToSave.some((end) => module.endsWith(end)) : origin !== '.base_layer';
    const tensors = saved.get(module) ?? { wrapped };
    refuseTwice(adapter, tensors[kind], name);
    saved.set(module, { ...tensors, [kind]: name });
  }
  const shared = factors.get('') ?? new Map<string, string>();
  factors.delete('');
  if (factors.size === 0 && saved.size === 0 && shared.size === 0) throw new AdapterError(`${adapter}: the file holds no tensors`);
  return { factors, shared, saved };
}

function refuseTwice(adapter: string, before: string | undefined, name: string): void {
  if (before !== undefined)
    throw new AdapterError(`${adapter}: ${name} and ${before} are the same tensor under two names`, { tensor: name });
}

/** Everything for one site. */
export interface SiteTensors {
  readonly site: SiteShape;
  /** Its path as the adapter spells it. */
  readonly module: string;
  readonly tensors: ReadonlyMap<string, string>;
  readonly saved: { weight?: string; bias?: string };
}

/** Finds the site of every module. Throws AdapterError that names the first tensor whose module the base lacks. */
export function sitesOf({ factors, saved }: SortedTensors, base: AdapterBase, { adapter, method }: Naming): SiteTensors[] {
  type Entry = { module: string; tensors: ReadonlyMap<string, string>; saved: { weight?: string; bias?: string } };
  const found = new Map<SiteShape, Entry>();
  const at = (path: string, tensor: string) => {
    const site = findSite(base.sites, path);
    if (site === undefined)
      throw new AdapterError(
        `${adapter} does not fit ${base.name}: ${tensor} is for ${path}, a module that ${base.name} does not have or that no adapter can change`,
        { tensor, module: path, base: base.name },
      );
    const entry: Entry = found.get(site) ?? { module: path, tensors: new Map(), saved: {} };
    found.set(site, entry);
    return { site, entry };
  };
  for (const [path, tensors] of factors) {
    const { site } = at(path, [...tensors.values()][0] as string);
    for (const other of method.sharesTiedWeights ? base.sites.filter(({ weight }) => weight === site.weight) : [site])
      at(other.path, '').entry.tensors = tensors;
  }
  const shared: { site: SiteShape; weight: string }[] = [];
  for (const [path, { weight, bias, wrapped }] of saved) {
    const { site, entry } = at(path, (weight ?? bias) as string);
    entry.saved = { ...(weight !== undefined && { weight }), ...(bias !== undefined && { bias }) };
    if (weight !== undefined && !wrapped) shared.push({ site, weight });
  }
  // A base weight that PEFT overwrites in place changes for every module that is tied to it.
  for (const { site, weight } of shared)
    for (const other of base.sites) {
      if (other === site || other.weight !== site.weight) continue;
      const { entry } = at(other.path, weight);
      if (entry.saved.weight === undefined) entry.saved = { ...entry.saved, weight };
    }
  return [...found].map(([site, entry]) => ({ site, ...entry })).sort((a, b) => a.site.number - b.site.number);
}

// Checkpoints of the bare model lack the first component that adapters name, or the other way round.
function findSite(sites: readonly SiteShape[], path: string): SiteShape | undefined {
  const exact = sites.find((site) => site.path === path);
  if (exact !== undefined) return exact;
  const withoutFirst = (text: string): string => text.slice(text.indexOf('.') + 1);
  return (
    sites.find((site) => site.path === withoutFirst(path)) ??
    sites.find((site) => site.path.includes('.') && withoutFirst(site.path) === path)
  );
}

const integers: Readonly<Record<string, (bytes: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  U8: (bytes) => new Uint8Array(bytes),
  I16: (bytes) => new Int16Array(bytes),
  I32: (bytes) => new Int32Array(bytes),
  I64: (bytes) => new BigInt64Array(bytes),
};

/** Reads a tensor of whole numbers. Throws AdapterError for other dtypes and for numbers beyond 32 bits. */
export async function readIntegers(source: TensorSource, name: string, adapter: string): Promise<IntegerTensor> {
  const info = source.info(name);
  const view = info && integers[info.dtype];
  if (info === undefined || view === undefined)
    throw new AdapterError(`${adapter}: ${name} is ${info?.dtype}: expected ${Object.keys(integers).join(', ')}`, {
      tensor: name,
      actual: info?.dtype,
      expected: Object.keys(integers),
    });
  const values = view(await source.read(name));
  const elements = info.shape.reduce((count, size) => count * size, 1);
  if (values.length !== elements)
    throw new AdapterError(`${adapter}: ${name} has ${values.length} numbers, expected ${elements}`, {
      tensor: name,
      actual: values.length,
      expected: elements,
    });
  const data = new Int32Array(elements);
  for (let i = 0; i < elements; i++) {
    const value = Number(values[i]);
    data[i] = value;
    if (data[i] !== value)
      throw new AdapterError(`${adapter}: ${name} holds ${value}, which is no 32-bit number`, { tensor: name, actual: value });
  }
  return { name, shape: info.shape, dtype: 'integer', data };
}

/** Reads one tensor, checking that its dtype can be used and that its bytes are all there. */
export async function readTensor(source: TensorSource, name: string, adapter: string): Promise<AdapterTensor> {
  const info = source.info(name);
  const dtype = info && dtypes[info.dtype];
  if (info === undefined || dtype === undefined)
    throw new AdapterError(`${adapter}: ${name} is ${info?.dtype}: expected F32, F16 or BF16`, {
      tensor: name,
      actual: info?.dtype,
      expected: Object.keys(dtypes),
    });
  const bytes = await source.read(name);
  const elements = info.shape.reduce((count, size) => count * size, 1);
  const width = dtype === 'f32' ? 4 : 2;
  if (bytes.byteLength !== elements * width)
    throw new AdapterError(`${adapter}: ${name} has ${bytes.byteLength} bytes, expected ${elements * width}`, {
      tensor: name,
      actual: bytes.byteLength,
      expected: elements * width,
    });
  return { name, shape: info.shape, dtype, data: viewAs(dtype, bytes) };
}
