// A training that goes on from an adapter folder: what the folder decides.
import { type FolderSettings, folderSettings } from '../adapters/methods/trained_settings.js';
import { withPeftFolder } from '../adapters/peft_folder.js';
import { sortTensors } from '../adapters/peft_tensors.js';
import { AdapterError, OptionError } from '../errors.js';

/** An adapter folder that a training goes on from. */
export interface AdapterStart extends FolderSettings {
  readonly folder: string;
  /** Paths of the modules that it changes. */
  readonly targetModules: readonly string[];
}

/** What an option says for an adapter that goes on from a folder. */
interface StartWords {
  method?: string | undefined;
  rank?: number | undefined;
  alpha?: number | undefined;
  rsLora?: boolean | undefined;
  targetModules?: string | string[] | undefined;
  init?: string | undefined;
  methodOptions?: Record<string, unknown> | undefined;
}

/** Reads what a folder decides. Throws AdapterError for one that no method can train on, FileAccessError and FileFormatError. */
export async function readAdapterStart(folder: string): Promise<AdapterStart> {
  return withPeftFolder(folder, async (config, source) => {
    const { factors, saved } = sortTensors(source, config);
    const [whole] = saved.keys();
    if (whole !== undefined)
      throw new AdapterError(`${config.adapter} holds the whole weight of ${whole}: what can be trained on has no such module`, {
        module: whole,
      });
    return { ...folderSettings(config), folder, targetModules: [...factors.keys()] };
  });
}

/**
 * The words for an adapter with what its folder decides. Throws OptionError where `said`, what was said beside `from`, decides it too, or
 * where the method is of another kind. @param where the adapter in messages
 */
export function withAdapterStart<Words extends StartWords>(words: Words, said: StartWords, start: AdapterStart, where: string): Words {
  const { folder, methods, rank, alpha, rsLora, targetModules, methodOptions } = start;
  for (const option of ['rank', 'alpha', 'rsLora', 'targetModules', 'init'] as const)
    if (said[option] !== undefined)
      throw new OptionError(`${where}.${option} is ${JSON.stringify(said[option])} beside from: expected none, as ${folder} decides it`, {
        option,
        actual: said[option],
      });
  const method = words.method ?? (methods[0] as string);
  if (!methods.includes(method))
    throw new OptionError(`${where}.method is '${method}': ${folder} can be trained on as ${methods.join(', ')}`, {
      option: 'method',
      actual: method,
      expected: methods,
    });
  for (const [option, value] of Object.entries(methodOptions ?? {})) {
    const own = words.methodOptions?.[option];
    if (own !== undefined && JSON.stringify(own) !== JSON.stringify(value))
      throw new OptionError(`${where}.methodOptions.${option} is ${JSON.stringify(own)}: ${folder} has ${JSON.stringify(value)}`, {
        option: `methodOptions.${option}`,
        actual: own,
        expected: value,
      });
  }
  const decided = { method, rank, alpha, rsLora, targetModules: [...targetModules], init: undefined };
  return { ...words, ...decided, methodOptions: { ...words.methodOptions, ...methodOptions } };
}
