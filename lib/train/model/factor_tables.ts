// The tables by which the kernels of grouped_lora find the factors of adapters in training.
import type { SiteShape } from '../../adapters/method.js';
import type { StepShare } from '../../adapters/trainable_method.js';
import { InternalError } from '../../errors.js';
import type { Device } from '../../runtime/device.js';
import { type DeviceTensor, tensor, writeBytes } from '../../runtime/device_tensor.js';
import { dtypeCode } from '../../runtime/dtype.js';
import type { StoredParameter } from './parameter_store.js';
import { type AdapterInTraining, factorsAt } from './site_adapters.js';

// As in native/kernels/grouped_lora/grouped_lora_layout.h.
const entryColumns = 8;
const rankColumn = 2;
const scaleColumn = 7;
const lowRank = 1;
const elementsPerUnit = 16;

/** i32 [slots, sites, 8] and i32 [rows]. */
export interface FactorTables {
  readonly entries: DeviceTensor;
  readonly rows: DeviceTensor;
  /** Makes an adapter use the first `rank` rows of its factors with that scale; undefined: all, as its method says. */
  use(adapter: AdapterInTraining, share: Pick<StepShare, 'rank' | 'scale'> | undefined): Promise<void>;
}

/** Undefined where no adapter has factors. */
export function factorTables(
  adapters: readonly AdapterInTraining[],
  sites: readonly SiteShape[],
  device: Device,
): FactorTables | undefined {
  const whole = new Int32Array(adapters.length * sites.length * entryColumns);
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
      const first = rows.length;
      rows.push(...a, ...bT);
      whole.set(
        [lowRank, dtypeCode.f32, a.length, first, first + a.length, -1, -1, bitsOf(factors.scale)],
        (adapter.slot * sites.length + site.number) * entryColumns,
      );
    }
  if (rows.length === 0) return undefined;
  const entries = tensor('i32', [adapters.length, sites.length, entryColumns], whole, device);
  return {
    entries,
    rows: tensor('i32', [rows.length], Int32Array.from(rows), device),
    async use({ slot }, share) {
      const length = sites.length * entryColumns;
      const own = whole.slice(slot * length, (slot + 1) * length);
      if (share !== undefined)
        for (let at = 0; at < length; at += entryColumns)
          if (own[at] === lowRank) {
            own[at + rankColumn] = share.rank;
            own[at + scaleColumn] = bitsOf(share.scale);
          }
      await writeBytes(entries, 4 * slot * length, own);
    },
  };
}

const bitsOf = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0] as number;

function rowsOf({ name, stored }: AdapterInTraining, site: SiteShape, part: string): number[] {
  const parameter = stored.parameters.find((p) => p.path === site.path && p.spec.part === part) as StoredParameter | undefined;
  if (parameter === undefined) throw new InternalError(`adapter ${name} has no parameter ${part} at ${site.path}`);
  const { offset, rows, stride } = parameter;
  return Array.from({ length: rows }, (_, row) => (offset + row * stride) / elementsPerUnit);
}
