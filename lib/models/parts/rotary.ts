import type { RopeSettings } from '../../checkpoint/model_config.js';
import type { Tensor } from '../../graph/tensor.js';
import { ropeTable } from '../../ops/index.js';
import type { ModelBuilder } from '../model_builder.js';

/** base ^ (-2 i / rotary) for each pair of channels. */
function plainFrequencies(base: number, rotary: number): number[] {
  return Array.from({ length: rotary / 2 }, (_, i) => base ** ((-2 * i) / rotary));
}

/** Llama 3: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
function llama3Frequencies(plain: readonly number[], s: Extract<RopeSettings, { type: 'llama3' }>): number[] {
  return plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < s.originalMaxPositions / s.highFrequencyFactor) return f;
    if (wavelength > s.originalMaxPositions / s.lowFrequencyFactor) return f / s.factor;
    const blend = (s.originalMaxPositions / wavelength - s.lowFrequencyFactor) / (s.highFrequencyFactor - s.lowFrequencyFactor);
    return ((1 - blend) * f) / s.factor + blend * f;
  });
}

/** YaRN: channels that turn often within the original context are kept, slow ones interpolated. Peng et al., https://arxiv.org/abs/2309.00071. */
function yarnFrequencies(plain: readonly number[], base: number, rotary: number, s: Extract<RopeSettings, { type: 'yarn' }>): number[] {
  const channel = (turns: number): number => (rotary * Math.log(s.originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const whole = s.truncate ?? true;
  let low = channel(s.betaFast);
  let high = channel(s.betaSlow);
  if (whole) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, rotary - 1);
  if (low === high) high += 0.001;
  return plain.map((f, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (f / s.factor) * ramp + f * (1 - ramp);
  });
}

function yarnScale(s: Extract<RopeSettings, { type: 'yarn' }>): number {
  if (s.attentionFactor !== undefined) return s.attentionFactor;
  const mscale = (weight: number): number => (s.factor <= 1 ? 1 : 0.1 * weight * Math.log(s.factor) + 1);
  return s.mscale && s.mscaleAllDim ? mscale(s.mscale) / mscale(s.mscaleAllDim) : mscale(1);
}

/** The step's cosines and sines for one kind of rotary embedding, built once for all layers that share it. */
export function rotaryTable(b: ModelBuilder, settings: RopeSettings, headWidth: number): Tensor {
  return b.once(`rope ${JSON.stringify(settings)} ${headWidth}`, () => buildTable(b, settings, headWidth));
}

function buildTable(b: ModelBuilder, settings: RopeSettings, headWidth: number): Tensor {
  const rotary = Math.floor(headWidth * settings.partialRotaryFactor);
  const { base } = settings;
  const plain = plainFrequencies(base, rotary);
  const table = (values: readonly number[], name: string = settings.type): Tensor =>
    b.table(`rope ${name} ${JSON.stringify(settings)} ${rotary}`, () => Float32Array.from(values));
  const { positions, lengths } = b.step;
  switch (settings.type) {
    case 'default':
      return ropeTable({ positions, frequencies: table(plain) });
    case 'linear':
      return ropeTable({ positions, frequencies: table(plain.map((f) => f / settings.factor)) });
    case 'llama3':
      return ropeTable({ positions, frequencies: table(llama3Frequencies(plain, settings)) });
    case 'yarn':
      return ropeTable({ positions, frequencies: table(yarnFrequencies(plain, base, rotary, settings)) }, { scale: yarnScale(settings) });
    case 'dynamic':
      return ropeTable(
        { positions, lengths, frequencies: table(plain) },
        { dynamicFactor: settings.factor, base, originalLength: settings.originalMaxPositions },
      );
    case 'longrope': {
      const divided = (by: readonly number[]): number[] => plain.map((f, i) => f / (by[i] as number));
      return ropeTable(
        {
          positions,
          lengths,
          frequencies: table(divided(settings.shortFactor)),
          longFrequencies: table(divided(settings.longFactor), 'longrope long'),
        },
        { scale: settings.attentionFactor, longScale: settings.attentionFactor, originalLength: settings.originalMaxPositions },
      );
    }
  }
}
