import { AdapterError } from '../errors.js';
import type { AdapterBase, SiteShape } from './method.js';
import { endsIn } from './module_pattern.js';
import type { PeftConfig } from './peft_adapter.js';
import type { SiteTensors } from './peft_tensors.js';

/**
 * Throws AdapterError naming a module of the base that adapter_config.json says the adapter changes, but that the file has no tensors for.
 * `target_modules` as a pattern is not looked at: its language is Python's.
 */
export function expectComplete(
  { adapter, method, written, modulesToSave }: PeftConfig,
  found: readonly SiteTensors[],
  base: AdapterBase,
): void {
  const missing = (option: string, name: string, { path }: SiteShape): AdapterError =>
    new AdapterError(`${adapter} is incomplete: its ${option} names ${name}, but its file has no tensors for ${path}`, {
      option,
      module: path,
      base: base.name,
    });
  const changed = new Set(found.filter(({ tensors }) => tensors.size > 0).map(({ site }) => site));
  for (const name of listOf(written.target_modules))
    for (const site of base.sites)
      if (endsIn(site.path, name) && method.sites.includes(site.kind) && !leftOut(site.path, written, modulesToSave) && !changed.has(site))
        throw missing('target_modules', name, site);
  const saved = new Set(found.filter(({ saved: { weight, bias } }) => weight !== undefined || bias !== undefined).map(({ site }) => site));
  for (const name of modulesToSave)
    for (const site of base.sites)
      if (endsIn(site.path, name) && isModule(site) && !saved.has(site)) throw missing('modules_to_save', name, site);
}

const isModule = ({ kind }: SiteShape): boolean => kind === 'linear' || kind === 'embedding' || kind === 'norm';

const listOf = (names: unknown): string[] => (Array.isArray(names) ? names.filter((name) => typeof name === 'string') : []);

// Whether other options of the configuration take the module out again. What they say in Python's patterns may.
function leftOut(path: string, options: Readonly<Record<string, unknown>>, modulesToSave: readonly string[]): boolean {
  const { exclude_modules: excluded, layers_to_transform: layers, layers_pattern: pattern } = options;
  // What is saved whole is no target, nor is what lies in it.
  if (modulesToSave.some((name) => `.${path}.`.includes(`.${name}.`))) return true;
  if (typeof excluded === 'string' || listOf(excluded).some((name) => endsIn(path, name))) return true;
  if (layers === undefined || layers === null) return false;
  if (typeof pattern === 'string' ? pattern !== '' : listOf(pattern).length > 0) return true;
  const layer = /.*\.[^.]*\.(\d+)\./.exec(path);
  return layer === null || !(Array.isArray(layers) ? layers : [layers]).includes(Number(layer[1]));
}
