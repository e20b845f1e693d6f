import { ModelError } from '../errors.js';
import { shownValue } from '../runtime/shown_value.js';

/** Rotary position settings with one spelling. `partialRotaryFactor` is the share of each head's channels that turn. */
export type RopeSettings = { readonly base: number; readonly partialRotaryFactor: number } & (
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | { readonly type: 'dynamic'; readonly factor: number; readonly originalMaxPositions: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor?: number | undefined;
      readonly mscale?: number | undefined;
      readonly mscaleAllDim?: number | undefined;
      readonly truncate?: boolean | undefined;
    }
  | {
      readonly type: 'longrope';
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    }
);

/** The fields of config.json that say how positions are encoded, in both spellings. */
export interface RopeFields {
  readonly rope_theta?: number | null | undefined;
  readonly rope_local_base_freq?: number | null | undefined;
  readonly rope_scaling?: Readonly<Record<string, unknown>> | null | undefined;
  readonly rope_parameters?: Readonly<Record<string, unknown>> | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
}

/** What readRope must know besides. */
export interface RopeContext {
  /** For messages. */
  readonly model: string;
  /** rope_theta where the config is silent. */
  readonly defaultBase: number;
  readonly maxPositions: number;
  /** Positions before any stretching, where the settings do not say. */
  readonly originalMaxPositions: number;
  readonly headWidth: number;
  /** True when sliding layers have settings of their own, as in Gemma 3. */
  readonly slidingApart: boolean;
}

/** Sizes and positions are 32-bit numbers. */
export const largestSize = 2 ** 31 - 1;

const slidingBase = 10_000;

type Settings = Readonly<Record<string, unknown>>;

/** Reads `rope_parameters` (one for all layers or one per kind of layer), or `rope_theta` with `rope_scaling`; of both, what transformers takes. */
export function readRope(fields: RopeFields, context: RopeContext): { rope: RopeSettings; slidingRope?: RopeSettings | undefined } {
  const parameters = fields.rope_parameters;
  const base = fields.rope_theta ?? context.defaultBase;
  const scaling = fields.rope_scaling && Object.keys(fields.rope_scaling).length > 0 ? fields.rope_scaling : undefined;
  const read = (settings: Settings, fieldOf: (name: string) => string, defaultBase = base): RopeSettings =>
    readSettings(settings, fieldOf, defaultBase, fields.partial_rotary_factor, context);
  const apart = parameters != null && ('full_attention' in parameters || 'sliding_attention' in parameters);
  if (apart && (scaling === undefined || context.slidingApart)) {
    const { full_attention: full, sliding_attention: sliding } = parameters as Record<string, Settings | null | undefined>;
    return {
      rope: read({ ...full, ...scaling }, (name) =>
        scaling && name in scaling ? `rope_scaling.${name}` : `rope_parameters.full_attention.${name}`,
      ),
      slidingRope: sliding ? read(sliding, (name) => `rope_parameters.sliding_attention.${name}`, slidingBase) : undefined,
    };
  }
  if (scaling && parameters && context.slidingApart)
    throw new ModelError(
      `${context.model}: config.json: rope_scaling is ${shownValue(scaling, 'missing')}: expected none beside rope_parameters without full_attention`,
      { field: 'rope_scaling', actual: scaling },
    );
  const rope = scaling ? read(scaling, (name) => `rope_scaling.${name}`) : read(parameters ?? {}, (name) => `rope_parameters.${name}`);
  if (!context.slidingApart) return { rope };
  const partialRotaryFactor = fields.partial_rotary_factor ?? 1;
  return { rope, slidingRope: { type: 'default', base: fields.rope_local_base_freq ?? slidingBase, partialRotaryFactor } };
}

function readSettings(
  settings: Settings,
  fieldOf: (name: string) => string,
  defaultBase: number,
  defaultPartial: number | null | undefined,
  context: RopeContext,
): RopeSettings {
  const refuseField = (field: string, actual: unknown, expected: string): never => {
    throw new ModelError(`${context.model}: config.json: ${field} is ${shownValue(actual, 'missing')}: expected ${expected}`, {
      field,
      actual,
      expected,
    });
  };
  const refuse = (name: string, expected: string): never => refuseField(fieldOf(name), settings[name], expected);
  const number = (name: string, fallback?: number): number => {
    const value = settings[name] ?? fallback;
    return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : refuse(name, 'a positive number');
  };
  const optional = (name: string): number | undefined => (settings[name] == null ? undefined : number(name));
  const base = number('rope_theta', defaultBase);
  const partialRotaryFactor = number('partial_rotary_factor', defaultPartial ?? 1);
  const rotary = Math.floor(context.headWidth * partialRotaryFactor);
  if (partialRotaryFactor > 1 || rotary < 2 || rotary % 2 !== 0) {
    const expected = `a share of the head width ${context.headWidth} that is even and not 0`;
    if (settings.partial_rotary_factor != null) refuse('partial_rotary_factor', expected);
    if (defaultPartial != null) refuseField('partial_rotary_factor', defaultPartial, expected);
    refuseField('the head width (head_dim, or hidden_size / num_attention_heads)', context.headWidth, 'an even number');
  }
  const common = { base, partialRotaryFactor };
  const original = (): number => {
    const value = number('original_max_position_embeddings', context.originalMaxPositions);
    if (!Number.isInteger(value) || value > largestSize) refuse('original_max_position_embeddings', `a whole number up to ${largestSize}`);
    return value;
  };
  const list = (name: string): number[] => {
    const value = settings[name];
    const valid = Array.isArray(value) && value.length === rotary / 2 && value.every((v) => Number.isFinite(v) && v > 0);
    return valid ? value : refuse(name, `${rotary / 2} positive numbers`);
  };
  const type = String(settings.rope_type ?? settings.type ?? 'default');
  switch (type) {
    case 'default':
      return { ...common, type };
    case 'linear':
      return { ...common, type, factor: number('factor') };
    case 'dynamic': {
      // transformers measures growth from max_position_embeddings, whatever the settings say.
      const factor = number('factor');
      if (factor * context.maxPositions > largestSize)
        refuse('factor', `one that stretches max_position_embeddings ${context.maxPositions} to at most ${largestSize}`);
      return { ...common, type, factor, originalMaxPositions: context.maxPositions };
    }
    case 'llama3': {
      const lowFrequencyFactor = number('low_freq_factor');
      const highFrequencyFactor = number('high_freq_factor');
      if (highFrequencyFactor <= lowFrequencyFactor) refuse('high_freq_factor', `more than low_freq_factor ${lowFrequencyFactor}`);
      return { ...common, type, factor: number('factor'), lowFrequencyFactor, highFrequencyFactor, originalMaxPositions: original() };
    }
    case 'yarn':
      return {
        ...common,
        type,
        factor: number('factor'),
        originalMaxPositions: original(),
        betaFast: number('beta_fast', 32),
        betaSlow: number('beta_slow', 1),
        attentionFactor: optional('attention_factor'),
        mscale: optional('mscale'),
        mscaleAllDim: optional('mscale_all_dim'),
        truncate: typeof settings.truncate === 'boolean' ? settings.truncate : undefined,
      };
    case 'longrope':
    case 'su': {
      const originalMaxPositions = original();
      const factor = optional('factor') ?? context.maxPositions / originalMaxPositions;
      const grown = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
      return {
        ...common,
        type: 'longrope',
        shortFactor: list('short_factor'),
        longFactor: list('long_factor'),
        originalMaxPositions,
        attentionFactor: optional('attention_factor') ?? grown,
      };
    }
    default:
      return refuse('rope_type' in settings ? 'rope_type' : 'type', 'default, linear, dynamic, yarn, llama3 or longrope');
  }
}
