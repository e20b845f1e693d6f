import { basename, resolve } from 'node:path';
import { inspectPeftFolder, openPeftTensors } from '../adapters/peft_folder.js';
import { readOptionalObject } from '../checkpoint/hugging_face_folder.js';
import { AdapterError } from '../errors.js';
import {
  type Findings,
  formatBytes,
  formatDtypes,
  formatFacts,
  formatList,
  formatParameters,
  type TensorTotals,
  totalsOf,
} from './inspect_facts.js';

/** What a PEFT folder holds, from its configuration and the header of its tensors. */
export async function inspectAdapterFolder(folder: string): Promise<Findings> {
  const config = (await readOptionalObject(folder, 'adapter_config.json')) ?? {};
  const peftType = typeof config.peft_type === 'string' ? config.peft_type : undefined;
  const base = typeof config.base_model_name_or_path === 'string' ? config.base_model_name_or_path : undefined;
  const common = { kind: 'adapter', path: folder, name: basename(resolve(folder)), peftType, base };
  try {
    const { kind, ranks, scales, targets, modules, savedModules, parameters } = await inspectPeftFolder(folder);
    const totals = await totalsOfFile(folder);
    const alpha = typeof config.lora_alpha === 'number' ? config.lora_alpha : undefined;
    const json = { ...common, supported: true, method: kind, ranks, alpha, scales, targets, modules, savedModules, ...totals };
    const text = formatFacts(`${common.name}: adapter`, [
      ['kind', kind],
      ['base', base ?? 'not named'],
      [ranks.length === 1 ? 'rank' : 'ranks', formatList(ranks)],
      ['alpha', alpha],
      [scales.length === 1 ? 'scale' : 'scales', formatList(scales.map((scale) => Number(scale.toPrecision(6))))],
      ['targets', formatList(targets)],
      ['modules', modules],
      ['saved whole', formatList(savedModules)],
      ['parameters', formatParameters(parameters)],
      ...weightFacts(totals),
    ]);
    return { json, text };
  } catch (error) {
    // What cannot be loaded can still be described, as long as its files are sound.
    if (!(error instanceof AdapterError)) throw error;
    const totals = await totalsOfFile(folder).catch(() => undefined);
    if (totals === undefined) throw error;
    const text = formatFacts(`${common.name}: adapter`, [
      ['kind', peftType ?? 'not named'],
      ['base', base ?? 'not named'],
      ['parameters', formatParameters(totals.parameters)],
      ...weightFacts(totals),
      ['cannot be loaded', error.message],
    ]);
    return { json: { ...common, supported: false, problem: { code: error.code, message: error.message }, ...totals }, text };
  }
}

async function totalsOfFile(folder: string): Promise<TensorTotals> {
  const file = await openPeftTensors(folder);
  try {
    return totalsOf(file);
  } finally {
    file.dispose();
  }
}

const weightFacts = ({ tensors, parameters, bytes, dtypes }: TensorTotals) =>
  [
    ['dtype', formatDtypes(dtypes, parameters)],
    ['bytes', `${formatBytes(bytes)} in ${tensors} tensors`],
  ] as const;
