// What is timed: one entry per op and shape, of the sizes that the 1.1 B shape (hidden 2048, inner 5632, 32 heads over 4, vocabulary
// 32000) gives them. Per case: operands by the declaration's names, `bytes` that must move and `operations`, whichever tells more.
// `cold` is the operand that a model reads once a step: many copies of it take turns, more than the caches hold.

const f32 = (...dims) => ({ dtype: 'f32', dims });
const bf16 = (...dims) => ({ dtype: 'bf16', dims });
const i32 = (dims, value = () => 0) => ({ dtype: 'i32', dims, value });
const count = (dims) => dims.reduce((product, size) => product * size, 1);

const [hidden, inner, heads, keyHeads, width, vocabulary, blockTokens] = [2048, 5632, 32, 4, 64, 32000, 16];

const linear = (rows, inputs, outputs) => ({
  op: 'linear',
  shape: `${rows} x ${inputs} -> ${outputs}, bf16`,
  inputs: { x: f32(rows, inputs), weight: bf16(Math.ceil(outputs / 16), inputs / 2, 32) },
  outputs: { y: f32(rows, outputs) },
  attrs: { activation: 'fast' },
  cold: 'weight',
  bytes: inputs * outputs * 2,
  operations: 2 * rows * inputs * outputs,
});

/** Each token has an adapter of its own; its rows lie one after another in the pool. */
function groupedLora(tokens, inputs, outputs, rank) {
  const units = (size) => Math.ceil((size * 2) / 64);
  const perAdapter = rank * (units(inputs) + units(outputs));
  const rowUnits = Array.from({ length: tokens }, (_, slot) =>
    Array.from(
      { length: 2 * rank },
      (_, row) => slot * perAdapter + Math.min(row, rank) * units(inputs) + Math.max(0, row - rank) * units(outputs),
    ),
  ).flat();
  const scale = new Int32Array(Float32Array.of(0.5).buffer)[0];
  const bytes = tokens * perAdapter * 64;
  return {
    op: 'grouped_lora',
    shape: `${tokens} tokens, ${tokens} adapters of rank ${rank}, ${inputs} -> ${outputs}, bf16`,
    inputs: {
      x: f32(tokens, inputs),
      base: f32(tokens, outputs),
      index: i32([tokens, 1], (i) => i),
      weight: { ...f32(tokens, 1), value: () => 1 },
      entries: i32(
        [tokens, 1, 8],
        (i) => [1, 2, rank, Math.floor(i / 8) * 2 * rank, (Math.floor(i / 8) * 2 + 1) * rank, -1, -1, scale][i % 8],
      ),
      rows: i32([rowUnits.length], (i) => rowUnits[i]),
      pool: { dtype: 'u8', dims: [bytes] },
      columns: i32([2], (i) => i * outputs),
    },
    attrs: { site: 0 },
    cold: 'pool',
    bytes,
    operations: 2 * tokens * rank * (inputs + outputs),
  };
}

/** `tokens` positions of one request at the end of a context, or the last one of `requests` requests. */
function attention(requests, tokens, context) {
  const [total, blocks] = [requests * tokens, Math.ceil(context / blockTokens)];
  const pageBytes = 2 * keyHeads * width * blockTokens * 2;
  return {
    op: 'attention',
    shape: `${requests} requests, ${tokens} tokens each after ${context - tokens}, ${heads} heads over ${keyHeads}, bf16 cache`,
    inputs: {
      q: f32(total, heads, width),
      pool: { dtype: 'u8', dims: [requests * blocks * pageBytes] },
      blockTable: i32([requests, blocks], (i) => i),
      positions: i32([total], (i) => context - tokens + (i % tokens)),
      request: i32([total], (i) => Math.floor(i / tokens)),
    },
    outputs: { y: f32(total, heads, width) },
    attrs: { pageBytes, layerOffset: 0, cacheType: 'bf16', keyHeads, scale: 0.125, window: 0, softCap: 0 },
    cold: 'pool',
    bytes: requests * blocks * pageBytes,
    operations: 4 * requests * heads * width * (tokens * (context - tokens) + (tokens * (tokens + 1)) / 2),
  };
}

const moving = (op, shape, inputs, outputs, attrs = {}) => ({
  op,
  shape,
  inputs,
  outputs,
  attrs,
  bytes: [...Object.values(inputs), ...Object.values(outputs)].reduce(
    (sum, { dims, dtype }) => sum + count(dims) * (dtype === 'bf16' ? 2 : 4),
    0,
  ),
});

const sampling = (rows, temperature) => ({
  ...moving(
    'sample',
    `${rows} rows of ${vocabulary}, ${temperature === 0 ? 'greedy' : `temperature ${temperature}, top-k 40, top-p 0.9`}`,
    {
      logits: f32(rows, vocabulary),
      positions: i32([rows], () => 5),
      controls: { ...f32(rows, 8), value: (i) => [temperature, 0.9, 0, 1, 0, 0, 0, 0][i % 8] },
      integers: i32([rows, 8], (i) => [40, 7, 0, 0, Math.floor(i / 8), 64, 0, 0][i % 8]),
      history: i32([rows, 64]),
      historyState: i32([rows, 2], () => 4),
      biasTokens: i32([rows, 0]),
      biasValues: f32(rows, 0),
    },
    { token: i32([rows]), logprob: f32(rows), topTokens: i32([rows, 0]), topLogprobs: f32(rows, 0) },
  ),
});

export const cases = [
  ...[1, 8, 16, 128].map((rows) => linear(rows, hidden, inner)),
  linear(1, hidden, vocabulary),
  ...[1, 8, 16].map((tokens) => groupedLora(tokens, hidden, hidden, 16)),
  groupedLora(8, hidden, inner, 64),
  attention(8, 1, 512),
  attention(1, 1, 4096),
  attention(1, 512, 512),
  moving('rms_norm', `16 x ${hidden}`, { x: f32(16, hidden), weight: f32(hidden) }, { y: f32(16, hidden) }, { eps: 1e-5, weightOffset: 0 }),
  moving(
    'add_rms_norm',
    `16 x ${hidden}`,
    { a: f32(16, hidden), b: f32(16, hidden), weight: f32(hidden) },
    { sum: f32(16, hidden), y: f32(16, hidden) },
    { eps: 1e-5, weightOffset: 0 },
  ),
  moving('gate', `512 x ${inner}, silu`, { gate: f32(512, inner), up: f32(512, inner) }, { y: f32(512, inner) }, { function: 'silu' }),
  moving(
    'rope',
    `512 x ${heads} x ${width}`,
    { x: f32(512, heads, width), table: f32(512, width) },
    { y: f32(512, heads, width) },
    { interleaved: false },
  ),
  moving('softmax', `16 x ${vocabulary}`, { x: f32(16, vocabulary) }, { y: f32(16, vocabulary) }),
  moving('reduce', `16 x ${vocabulary}, max`, { x: f32(16, vocabulary) }, { y: f32(16) }, { kind: 'max' }),
  {
    ...moving(
      'embedding',
      `512 of ${vocabulary} x ${hidden}, bf16`,
      { ids: i32([512], (i) => (i * 7919) % vocabulary), weight: bf16(vocabulary, hidden) },
      { y: f32(512, hidden) },
      { vocabulary },
    ),
    bytes: 512 * hidden * 6,
  },
  sampling(16, 0),
  sampling(16, 0.8),
];
