import { join } from 'node:path';
import { makeFolder } from '../checkpoint/make_folder.js';
import { writeAll, writeWholeFile } from '../checkpoint/whole_file.js';
import { writeSafetensors } from '../checkpoint/write_safetensors.js';

/** An adapter as files hold it. */
export interface AdapterToSave {
  readonly config: Readonly<Record<string, unknown>>;
  /** f32 or i32, by full names. */
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array | Int32Array }>;
}

/** Writes a folder that PEFT and `loadModel` read: each file whole or not at all, the tensors first. Throws FileAccessError. */
export async function saveAdapterFolder(folder: string, { config, tensors }: AdapterToSave): Promise<void> {
  await makeFolder(folder);
  const entries = [...tensors].map(([name, { shape, data }]) => ({
    name,
    dtype: data instanceof Int32Array ? 'I32' : 'F32',
    shape,
    data,
  }));
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), entries, { format: 'pt' });
  const text = `${JSON.stringify(config, null, 2)}\n`;
  await writeWholeFile(join(folder, 'adapter_config.json'), (file) => writeAll(file, new TextEncoder().encode(text)));
}
