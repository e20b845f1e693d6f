import type { AdapterBase, SiteShape } from '../adapters/method.js';
import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { ModelError } from '../errors.js';

/** The base as adapters see it: shapes of all sites, and rows of its weights where a method needs them. */
export function baseOf(folder: HuggingFaceFolder, sites: readonly SiteShape[]): AdapterBase {
  return {
    name: folder.name,
    sites,
    readRows: async (site, first, count) => {
      const { values, columns } = await readMatrix(folder, site.weight);
      if (!site.transposed) return values.slice(first * columns, (first + count) * columns);
      const rows = new Float32Array(count * site.inputs);
      for (let r = 0; r < count; r++) for (let c = 0; c < site.inputs; c++) rows[r * site.inputs + c] = values[c * columns + first + r] as number;
      return rows;
    },
    readBias: async (site) => (await readMatrix(folder, site.weight.replace(/\.weight$/, '.bias'))).values,
  };
}

// One matrix is kept: callers read a weight in slices, one after the other.
let last: { folder: HuggingFaceFolder; name: string; matrix: Promise<{ values: Float32Array; columns: number }> } | undefined;

function readMatrix(folder: HuggingFaceFolder, name: string): Promise<{ values: Float32Array; columns: number }> {
  if (last?.folder !== folder || last.name !== name) last = { folder, name, matrix: convert(folder, name) };
  return last.matrix;
}

async function convert(folder: HuggingFaceFolder, name: string): Promise<{ values: Float32Array; columns: number }> {
  const info = folder.tensors.info(name);
  if (info === undefined) throw new ModelError(`${folder.name}: the checkpoint has no tensor ${name}`, { tensor: name });
  const bytes = await folder.tensors.read(name);
  return { values: toFloat32(bytes, info.dtype), columns: info.shape.at(-1) ?? 1 };
}

function toFloat32(bytes: ArrayBuffer, dtype: string): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes);
  const halves = new Uint16Array(bytes);
  if (dtype === 'BF16') {
    const wide = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i++) wide[i] = (halves[i] as number) << 16;
    return new Float32Array(wide.buffer);
  }
  return Float32Array.from(halves, halfValue);
}

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
