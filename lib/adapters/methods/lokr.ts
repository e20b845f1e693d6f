import { AdapterError } from '../../errors.js';
import type { AdapterMethod, SiteRequest } from '../method.js';
import { partNames } from '../part_names.js';
import type { SiteTensorReader } from '../site_tensor_reader.js';
import { type AlphaOverRank, readAlphaOverRank } from './alpha_over_rank.js';

/** A matrix in float64, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

/** Adds scale · (left ⊗ right) to rows `first`.. of a weight of left.columns · right.columns inputs. */
export function addKroneckerProduct(weight: Float64Array, first: number, left: Matrix, right: Matrix, scale: number): void {
  const width = left.columns * right.columns;
  for (let r = 0; r < weight.length / width; r++) {
    const row = first + r;
    const above = Math.floor(row / right.rows) * left.columns;
    const below = (row % right.rows) * right.columns;
    for (let c = 0; c < left.columns; c++) {
      const factor = scale * (left.values[above + c] as number);
      const at = r * width + c * right.columns;
      for (let d = 0; d < right.columns; d++) weight[at + d] = (weight[at + d] as number) + factor * (right.values[below + d] as number);
    }
  }
}

/** The Kronecker product of two small matrices, each perhaps itself a low-rank product. Yeh et al. (LyCORIS), https://arxiv.org/abs/2309.14859. */
export const lokr: AdapterMethod<AlphaOverRank> = {
  peftType: 'LOKR',
  sites: ['linear'],
  readConfig: readAlphaOverRank,
  identity: ({ alpha, rank, alphaPattern, rankPattern }) => ({ alpha, rank, alphaPattern, rankPattern }),
  split: partNames(['lokr_w1', 'lokr_w2', 'lokr_w1_a', 'lokr_w1_b', 'lokr_w2_a', 'lokr_w2_b']),
  describe: () => 'LoKr',

  measure(config, module, shapes) {
    const rank = shapes.get('lokr_w2_b')?.[0] ?? shapes.get('lokr_w1_b')?.[0];
    return rank === undefined ? undefined : { rank, scale: config.scaleOf(module) };
  },

  read(config, request, parts) {
    const rank = config.rankOf(request.module);
    const left = readFactor(parts, 'lokr_w1', rank);
    const right = readFactor(parts, 'lokr_w2', rank);
    expectProductShape(left, right, request);
    const scale = config.scaleOf(request.module);
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: request.site.inputs,
      merge: (rows, first) => addKroneckerProduct(rows, first, left, right, scale),
    };
  },
};

// Stored whole, or as a product of two.
function readFactor(parts: SiteTensorReader, name: string, rank: number): Matrix {
  if (parts.has(name)) {
    const [rows = 0, columns = 0] = parts.shape(name);
    return { rows, columns, values: parts.values(name, [rows, columns]) };
  }
  const [rows = 0] = parts.shape(`${name}_a`);
  const [, columns = 0] = parts.shape(`${name}_b`);
  const a = parts.values(`${name}_a`, [rows, rank]);
  const b = parts.values(`${name}_b`, [rank, columns]);
  const values = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < rank; j++)
      for (let c = 0; c < columns; c++)
        values[r * columns + c] = (values[r * columns + c] as number) + (a[r * rank + j] as number) * (b[j * columns + c] as number);
  return { rows, columns, values };
}

function expectProductShape(left: Matrix, right: Matrix, { adapter, base, site }: SiteRequest): void {
  const actual = [left.rows * right.rows, left.columns * right.columns];
  if (actual[0] === site.outputs && actual[1] === site.inputs) return;
  throw new AdapterError(
    `${adapter} does not fit ${base}: the product of lokr_w1 and lokr_w2 is [${actual.join(', ')}], expected [${site.outputs}, ${site.inputs}] for ${site.path}`,
    { module: site.path, actual, expected: [site.outputs, site.inputs], base },
  );
}
