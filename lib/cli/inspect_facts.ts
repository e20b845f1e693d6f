import type { TensorInfo, TensorSource } from '../checkpoint/safetensors.js';
import { displayWidth, printable } from './display_width.js';
import { formatAmount } from './progress.js';

/** What was found: as an object for machines, as lines for people. */
export interface Findings {
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** How much a file or folder of tensors holds. */
export interface TensorTotals {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  /** Parameters by dtype, as safetensors spells it; the most common first. */
  readonly dtypes: Readonly<Record<string, number>>;
}

/** The number of elements of a tensor. */
export function elementsOf({ shape }: TensorInfo): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** Counts tensors from their headers. */
export function totalsOf(source: TensorSource): TensorTotals {
  const dtypes = new Map<string, number>();
  let tensors = 0;
  let bytes = 0;
  for (const name of source.names()) {
    const info = source.info(name) as TensorInfo;
    tensors++;
    bytes += info.end - info.begin;
    dtypes.set(info.dtype, (dtypes.get(info.dtype) ?? 0) + elementsOf(info));
  }
  const parameters = [...dtypes.values()].reduce((sum, count) => sum + count, 0);
  return { tensors, parameters, bytes, dtypes: Object.fromEntries([...dtypes].sort((a, b) => b[1] - a[1])) };
}

/** `BF16`, or `BF16 98 %, F32 2 %`. */
export function formatDtypes(dtypes: Readonly<Record<string, number>>, parameters: number): string {
  const entries = Object.entries(dtypes);
  if (entries.length < 2) return entries[0]?.[0] ?? 'none';
  const share = (count: number): string => {
    const percent = (100 * count) / Math.max(1, parameters);
    return percent < 1 ? 'under 1 %' : `${Math.round(percent)} %`;
  };
  return entries.map(([dtype, count]) => `${dtype} ${share(count)}`).join(', ');
}

/** `2.8 M (2,831,232)` */
export function formatParameters(count: number): string {
  const exact = count.toLocaleString('en-US');
  if (count < 10_000) return exact;
  const [scale, unit] = count < 1e6 ? [1e3, 'k'] : count < 1e9 ? [1e6, 'M'] : [1e9, 'B'];
  const short = count / scale;
  return `${short.toFixed(short < 100 ? 1 : 0)} ${unit} (${exact})`;
}

/** Bytes for people, with the exact number where it was rounded. */
export function formatBytes(bytes: number): string {
  return bytes < 1000 ? formatAmount(bytes, 'bytes') : `${formatAmount(bytes, 'bytes')} (${bytes.toLocaleString('en-US')} bytes)`;
}

const longest = 400;

/** Lines of a name and a value each; what is undefined is left out. Values come from files of strangers. */
export function formatFacts(title: string, facts: readonly (readonly [name: string, value: string | number | undefined])[]): string {
  const shown = facts.filter((fact): fact is [string, string | number] => fact[1] !== undefined);
  const width = Math.max(...shown.map(([name]) => displayWidth(name)));
  const safe = (value: string | number): string => {
    const text = typeof value === 'number' ? value.toLocaleString('en-US') : printable(value).replaceAll('\n', ' ');
    return text.length > longest ? `${text.slice(0, longest)}…` : text;
  };
  return [safe(title), ...shown.map(([name, value]) => `  ${name.padEnd(width)}  ${safe(value)}`)].join('\n');
}

/** `4, 8, 16`; long lists are cut. */
export function formatList(items: readonly (string | number)[], most = 12): string | undefined {
  if (items.length === 0) return undefined;
  return items.length <= most ? items.join(', ') : `${items.slice(0, most).join(', ')} and ${items.length - most} more`;
}
