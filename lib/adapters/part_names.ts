import type { AdapterMethod } from './method.js';

/**
 * How most methods name tensors: `module.part`, perhaps with the adapter's name and `weight` behind it; shared ones
 * stand before every module, as `base_model.part`.
 */
export function partNames(parts: readonly string[], shared: readonly string[] = []): AdapterMethod['split'] {
  const end = '(?:\\.([^.]+?))?(?:\\.weight)?$';
  const own = new RegExp(`^(.+)\\.(${parts.join('|')})${end}`);
  const global = shared.length === 0 ? undefined : new RegExp(`^(?:base_model\\.)?(${shared.join('|')})${end}`);
  const named = (found: string | undefined): string | undefined => (found === 'weight' ? undefined : found);
  return (name) => {
    const common = global?.exec(name);
    if (common) return { module: '', part: common[1] as string, adapterName: named(common[2]) };
    const one = own.exec(name);
    return one ? { module: one[1] as string, part: one[2] as string, adapterName: named(one[3]) } : undefined;
  };
}
