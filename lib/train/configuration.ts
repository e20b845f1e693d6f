// What the numbers of a training depend on, so that one that goes on can be told from another.
import { createHash } from 'node:crypto';
import { TrainingError } from '../errors.js';
import type { AdapterSettings, TrainSettings } from './options.js';

/** Names and values. */
export type Configuration = Readonly<Record<string, string | number | boolean | null>>;

/** What is known of an adapter once its data is read. */
export interface ConfiguredAdapter {
  readonly name: string;
  readonly settings: AdapterSettings;
  readonly totalSteps: number;
  /** Hash of its examples. */
  readonly dataFingerprint: string;
  /** Names and shapes of its parameters. */
  readonly tensors: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly offset: number;
    readonly rowStride: number;
  }[];
}

/** The configuration, as flat as `adapters.poet.rank`. What changes no number, such as saveEvery, is not part of it. */
export function configurationOf(
  { seed, precision, batchTokens }: TrainSettings,
  baseFingerprint: string,
  adapters: readonly ConfiguredAdapter[],
): Configuration {
  const flat: Record<string, string | number | boolean | null> = { seed, precision, batchTokens, base: baseFingerprint };
  flat.adapters = adapters.map(({ name }) => name).join(', ');
  for (const { name, settings, totalSteps, dataFingerprint, tensors } of adapters) {
    // Where an adapter began is in the checkpoint's values.
    const { data, steps: _steps, epochs: _epochs, from: _from, ...rest } = settings;
    const { batchSize, tokensPerBatch = null, pack, maxLength = null, shuffle, seed: dataSeed } = data;
    const prefix = adapters.length === 1 ? '' : `${name}.`;
    const own = { ...rest, steps: totalSteps, 'data.content': dataFingerprint, parameters: layoutOf(tensors) };
    flatten(own, prefix, flat);
    flatten({ data: { batchSize, tokensPerBatch, pack, maxLength, shuffle, seed: dataSeed } }, prefix, flat);
  }
  return flat;
}

/** Throws TrainingError that names what differs. @param where the checkpoint */
export function expectSameConfiguration(saved: Configuration, now: Configuration, where: string): void {
  const names = [...new Set([...Object.keys(saved), ...Object.keys(now)])];
  const differing = names.filter((name) => saved[name] !== now[name]);
  if (differing.length === 0) return;
  const shown = differing.slice(0, 8).map((name) => `${name} is ${show(now[name])}, there ${show(saved[name])}`);
  if (differing.length > shown.length) shown.push(`${differing.length - shown.length} more`);
  throw new TrainingError(
    `${where} is of a training with another configuration: ${shown.join('; ')}. Go on with the old one, or choose another output folder`,
    { file: where, differing },
  );
}

function flatten(value: unknown, path: string, into: Record<string, string | number | boolean | null>): void {
  for (const [key, item] of Object.entries(value as Record<string, unknown>)) {
    if (typeof item === 'object' && item !== null && !Array.isArray(item)) flatten(item, `${path}${key}.`, into);
    else into[path + key] = Array.isArray(item) ? item.join(', ') : ((item ?? null) as string | number | boolean | null);
  }
}

function layoutOf(tensors: ConfiguredAdapter['tensors']): string {
  const text = tensors.map(({ name, shape, offset, rowStride }) => `${name}[${shape.join(',')}]@${offset}/${rowStride}`).join(' ');
  return `${tensors.length} tensors ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

function show(value: string | number | boolean | null | undefined): string {
  const text = value === undefined ? 'not there' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
