// The tables by which the kernels of grouped_lora find the factors of adapters in training.
import type { SiteShape } from '../../adapters/method.js';
import { InternalError } from '../../errors.js';
import { type DeviceTensor, tensor } from '../../runtime/device_tensor.js';
import { dtypeCode } from '../../runtime/dtype.js';
import type { StoredParameter } from './parameter_store.js';
import { type AdapterInTraining, factorsAt } from './site_adapters.js';

// As in native/kernels/grouped_lora/grouped_lora_layout.h.
const entryColumns = 8;
const lowRank = 1;
const elementsPerUnit = 16;

/** i32 [slots, sites, 8] and i32 [rows]. */
export interface FactorTables {
  readonly entries: DeviceTensor;
  readonly rows: DeviceTensor;
}

/** Undefined where no adapter has factors. */
export function factorTables(adapters: readonly AdapterInTraining[], sites: readonly SiteShape[]): FactorTables | undefined {
  const entries = new Int32Array(adapters.length * sites.length * entryColumns);
  const rows: number[] = [];
  for (const adapter of adapters)
    for (const site of sites) {
      const factors = factorsAt(adapter, site);
      if (factors === undefined) continue;
      const addresses = (parts: readonly string[]): number[] => parts.flatMap((part) => rowsOf(adapter, site, part));
      const a = addresses(factors.a);
      const bT = addresses(factors.bT);
      if (a.length !== bT.length)
        throw new InternalError(`${adapter.name} at ${site.path}: A has ${a.length} rows and B transposed ${bT.length}`);
      const scale = new Int32Array(Float32Array.of(factors.scale).buffer)[0] as number;
      const first = rows.length;
      rows.push(...a, ...bT);
      entries.set(
        [lowRank, dtypeCode.f32, a.length, first, first + a.length, -1, -1, scale],
        (adapter.slot * sites.length + site.number) * entryColumns,
      );
    }
  if (rows.length === 0) return undefined;
  return {
    entries: tensor('i32', [adapters.length, sites.length, entryColumns], entries),
    rows: tensor('i32', [rows.length], Int32Array.from(rows)),
  };
}

function rowsOf({ name, stored }: AdapterInTraining, site: SiteShape, part: string): number[] {
  const parameter = stored.parameters.find((p) => p.path === site.path && p.spec.part === part) as StoredParameter | undefined;
  if (parameter === undefined) throw new InternalError(`adapter ${name} has no parameter ${part} at ${site.path}`);
  const { offset, rows, stride } = parameter;
  return Array.from({ length: rows }, (_, row) => (offset + row * stride) / elementsPerUnit);
}
