// The bytes that grouped_lora's CUDA kernel moves, counted from how it cuts its work, beside the fewest that the op can move.
//   node tools/gpu/count_grouped_lora_bytes.mjs                                  the tables of bench/notes.md
//   node tools/gpu/count_grouped_lora_bytes.mjs --all                            the whole matrix
//   node tools/gpu/count_grouped_lora_bytes.mjs --multiprocessors 108 --bandwidth 2.0
// It follows native/kernels/grouped_lora/lora_work.cuh: the same slices, groups, items and blocks. Nothing here was measured.

const flag = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const multiprocessors = flag('multiprocessors', 132);
const bandwidth = flag('bandwidth', 4.8) * 1e12;
/** Of the bandwidth, what a kernel that only reads can reach. */
const reachable = flag('reachable', 0.85);
const blocksEach = 2;
/** Second-level cache to one multiprocessor: 64 bytes a clock at 1.75 GHz, seven tenths of it. */
const fromCache = 64 * 1.75e9 * 0.7;
/** Launch, index, entries, addresses of rows, first row, products and their flag, y: one after the other, in seconds. An estimate. */
const chain = 5e-6;

const [sliceRoutes, slicePairs, manyRoutes, chunkColumns, rankTile, tile, blockOutputs] = [2048, 1024, 256, 1024, 16, 16, 512];
const cut = (all, size) => Array.from({ length: Math.ceil(all / size) }, (_, i) => Math.min(size, all - i * size));
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Tokens per adapter. */
const populations = {
  identical: (tokens) => [tokens],
  distinct: (tokens) => new Array(tokens).fill(1),
  uniform: (tokens) => cut(tokens, Math.max(1, Math.floor(Math.sqrt(tokens)))),
  zipf: (tokens) => {
    const groups = [];
    for (let left = tokens, size = 1; left > 0; size *= 1.5) {
      groups.push(Math.min(left, Math.floor(size)));
      left -= groups.at(-1);
    }
    return groups.sort((a, b) => b - a);
  },
  skewed: (tokens) => (tokens === 1 ? [1] : [1, tokens - 1]),
  'quarter base': (tokens) => new Array(Math.ceil((tokens * 3) / 4)).fill(1),
};

/** Ranks of the adapters: one number, or the four of the mixed setting in turn. */
const rankOf = (rank, adapter) => (rank === 'mixed' ? [8, 16, 32, 64][adapter % 4] : rank);

/** One site of 16-bit factors, f32 activations. */
export function count({ inputs, outputs, rank, tokens, population }) {
  const adapters = populations[population](tokens).map((routes, i) => ({ routes, rank: rankOf(rank, i) }));
  const weights = sum(adapters.map((a) => 2 * a.rank * (inputs + outputs)));
  const used = sum(adapters.map((a) => a.routes));
  const floor = weights + 4 * used * inputs + 8 * used * outputs;

  // Tokens of one adapter are neighbours here, so a slice takes whole stretches of the list.
  const group = Math.min(tokens, sliceRoutes) > manyRoutes ? 64 : 16;
  const slices = [[]];
  for (const { routes, rank: size } of adapters)
    for (let left = routes; left > 0; ) {
      const room = slices.at(-1).length === slicePairs ? 0 : sliceRoutes - sum(slices.at(-1).map((a) => a.routes));
      if (room === 0) slices.push([]);
      const part = Math.min(left, room === 0 ? sliceRoutes : room);
      slices.at(-1).push({ routes: part, rank: size });
      left -= part;
    }
  const blocks = multiprocessors * blocksEach;
  const load = new Array(multiprocessors).fill(0); // bytes that each multiprocessor moves, from memory or cache
  const kinds = { rows: 0, x: 0, y: 0, products: 0, lists: 0 };
  const items = { shrink: 0, expand: 0 };
  let next = 0;
  const give = (parts) => {
    for (const [kind, bytes] of Object.entries(parts)) {
      kinds[kind] += bytes;
      load[(next % blocks) % multiprocessors] += bytes;
    }
    next++;
  };
  for (const slice of slices) {
    next = 0;
    for (const a of slice)
      for (const routes of cut(a.routes, group))
        for (const columns of cut(inputs, chunkColumns))
          for (const rows of cut(a.rank, rankTile)) {
            items.shrink++;
            give({ rows: 2 * rows * columns, x: 4 * routes * columns, products: 4 * routes * rankTile, lists: 32 + 4 * rows });
          }
    const chunks = Math.ceil(inputs / chunkColumns);
    for (const a of slice)
      for (const routes of cut(a.routes, group))
        for (const width of cut(outputs, blockOutputs)) {
          const tiles = Math.ceil(routes / tile);
          items.expand++;
          give({
            rows: 2 * a.rank * width * tiles,
            y: 8 * routes * width,
            products: 4 * routes * Math.ceil(a.rank / rankTile) * rankTile * chunks,
            lists: tiles * (32 + 4 * a.rank + 8 * routes),
          });
        }
    const perBlock = 4 * sum(slice.map((a) => a.routes)) + 32 * slice.length;
    kinds.lists += perBlock * blocks;
    for (let i = 0; i < multiprocessors; i++) load[i] += perBlock * blocksEach;
  }
  const moved = sum(Object.values(kinds));
  const worst = Math.max(...load);
  // Memory gives every byte once; what is read again comes from the second-level cache. Products and lists never leave that.
  const streaming = Math.max(floor / (bandwidth * reachable), worst / fromCache);
  return {
    adapters: adapters.length,
    weights,
    floor,
    moved,
    kinds,
    items,
    blocks,
    waves: (items.shrink + items.expand) / blocks,
    balance: worst / (moved / multiprocessors),
    floorSeconds: floor / bandwidth,
    streaming,
    seconds: streaming + chain * slices.length,
  };
}

const shapes = [
  [4096, 4096],
  [4096, 1024],
  [4096, 14336],
  [14336, 4096],
  [8192, 8192],
  [8192, 28672],
];
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 3 : bytes < 1e7 ? 2 : 1);
const micro = (seconds) => (seconds * 1e6).toFixed(seconds < 1e-5 ? 2 : 1);
const percent = (part) => `${(100 * part).toFixed(0)} %`;

function table(rows) {
  const lines = [
    '| H1 x H2 | rank | tokens | adapters | floor MB | weights MB | moved MB | products MB | lists MB | items | waves | worst SM | floor us | streaming us | with chain us | floor / streaming |',
    `|${' --- |'.repeat(16)}`,
  ];
  for (const row of rows) {
    const c = count(row);
    lines.push(
      `| ${row.inputs} x ${row.outputs} | ${row.rank} | ${row.tokens} ${row.population} | ${c.adapters} | ${[
        ...[c.floor, c.weights, c.moved, c.kinds.products, c.kinds.lists].map(megabytes),
        `${c.items.shrink} + ${c.items.expand}`,
        c.waves.toFixed(1),
        c.balance.toFixed(2),
        ...[c.floorSeconds, c.streaming, c.seconds].map(micro),
        percent(c.floorSeconds / c.streaming),
      ].join(' | ')} |`,
    );
  }
  return lines.join('\n');
}

function rowsOf(ranks, tokens, names) {
  return shapes.flatMap(([inputs, outputs]) =>
    ranks.flatMap((rank) => tokens.flatMap((count_) => names.map((population) => ({ inputs, outputs, rank, tokens: count_, population })))),
  );
}

if (process.argv.includes('--all')) {
  const tokens = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192];
  console.log(table(rowsOf([8, 16, 32, 64, 128, 'mixed'], tokens, Object.keys(populations))));
} else {
  console.log(table(rowsOf([16, 64], [1, 8, 32, 64], ['distinct'])));
  console.log();
  console.log(table(rowsOf([16, 64], [512, 2048, 8192], ['identical'])));
  console.log();
  console.log(table([...rowsOf(['mixed'], [64], Object.keys(populations))].filter((row) => row.inputs === 4096 && row.outputs !== 1024)));
}
