// Writes the models and adapters that the comparisons run on: random weights of real shapes, the same for every engine.
//   node bench/peers/write_models.mjs [--shape small,base] [--adapters 16] [--rank 16] [--seed 1] [--no-gguf] [--force]
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeGguf } from './gguf_writer.mjs';
import { bf16ToF32, randomBf16 } from './random_weights.mjs';
import { writeSafetensors } from './safetensors_writer.mjs';
import { configOf, filesOf, linearsOf, parameterCount, shapes } from './shapes.mjs';
import { tokenizerConfig, tokenizerJson, tokenizerMetadata } from './tokenizer_files.mjs';

const json = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** GGUF keeps the two halves of every rotary head interleaved; Hugging Face keeps them apart. */
function interleaveRotaryRows(bits, rows, columns, heads) {
  const half = rows / heads / 2;
  const moved = new bits.constructor(bits.length);
  for (let head = 0; head < heads; head += 1) {
    for (let part = 0; part < 2; part += 1) {
      for (let i = 0; i < half; i += 1) {
        const from = (head * 2 + part) * half + i;
        const to = (head * half + i) * 2 + part;
        moved.set(bits.subarray(from * columns, (from + 1) * columns), to * columns);
      }
    }
  }
  return moved;
}

/** Every tensor of a model: both names, dims, and how to make it. Variances keep activations near one at any depth. */
function modelTensors(shape, seed) {
  const matrix = (name, gguf, [rows, columns], deviation, ropeHeads) => ({
    name,
    gguf,
    dims: [rows, columns],
    ropeHeads,
    bits: () => randomBf16(seed, name, rows * columns, deviation),
  });
  const norm = (name, gguf) => ({ name, gguf, dims: [shape.hidden], bits: () => randomBf16(seed, name, shape.hidden, 0.1, 1) });
  const tensors = [matrix('model.embed_tokens.weight', 'token_embd.weight', [shape.vocabulary, shape.hidden], 1)];
  for (let layer = 0; layer < shape.layers; layer += 1) {
    const [name, gguf] = [`model.layers.${layer}`, `blk.${layer}`];
    tensors.push(norm(`${name}.input_layernorm.weight`, `${gguf}.attn_norm.weight`));
    tensors.push(norm(`${name}.post_attention_layernorm.weight`, `${gguf}.ffn_norm.weight`));
    for (const linear of linearsOf(shape)) {
      const deviation = 1 / Math.sqrt(linear.dims[1] * (linear.residual ? 2 * shape.layers : 1));
      tensors.push(matrix(`${name}.${linear.name}.weight`, `${gguf}.${linear.gguf}.weight`, linear.dims, deviation, linear.ropeHeads));
    }
  }
  tensors.push(norm('model.norm.weight', 'output_norm.weight'));
  tensors.push(matrix('lm_head.weight', 'output.weight', [shape.vocabulary, shape.hidden], 2 / Math.sqrt(shape.hidden)));
  return tensors;
}

function writeModel(name, seed, withGguf) {
  const shape = shapes[name];
  const files = filesOf(name);
  fs.mkdirSync(files.huggingFace, { recursive: true });
  const tensors = modelTensors(shape, seed);
  const inFolder = (file) => path.join(files.huggingFace, file);
  writeSafetensors(
    inFolder('model.safetensors'),
    tensors.map(({ name: tensor, dims, bits }) => ({ name: tensor, dims, dtype: 'BF16', data: bits })),
  );
  fs.writeFileSync(inFolder('config.json'), json(configOf(shape)));
  fs.writeFileSync(inFolder('generation_config.json'), json({ bos_token_id: 1, eos_token_id: 2 }));
  fs.writeFileSync(inFolder('tokenizer.json'), json(tokenizerJson(shape.vocabulary)));
  fs.writeFileSync(inFolder('tokenizer_config.json'), json(tokenizerConfig));
  if (!withGguf) return;
  writeGguf(
    files.gguf,
    [
      ['general.architecture', 'string', 'llama'],
      ['general.name', 'string', `random weights, ${name} shape`],
      ['general.file_type', 'u32', 32],
      ['llama.vocab_size', 'u32', shape.vocabulary],
      ['llama.context_length', 'u32', shape.context],
      ['llama.embedding_length', 'u32', shape.hidden],
      ['llama.block_count', 'u32', shape.layers],
      ['llama.feed_forward_length', 'u32', shape.inner],
      ['llama.attention.head_count', 'u32', shape.heads],
      ['llama.attention.head_count_kv', 'u32', shape.keyValueHeads],
      ['llama.attention.key_length', 'u32', shape.headSize],
      ['llama.attention.value_length', 'u32', shape.headSize],
      ['llama.attention.layer_norm_rms_epsilon', 'f32', shape.normEpsilon],
      ['llama.rope.dimension_count', 'u32', shape.headSize],
      ['llama.rope.freq_base', 'f32', shape.ropeTheta],
      ...tokenizerMetadata(shape.vocabulary),
    ],
    tensors.map(({ gguf, dims, ropeHeads, bits }) => ({
      name: gguf,
      dims,
      type: dims.length === 1 ? 'f32' : 'bf16',
      data: () => (dims.length === 1 ? bf16ToF32(bits()) : ropeHeads ? interleaveRotaryRows(bits(), ...dims, ropeHeads) : bits()),
    })),
  );
}

/** One LoRA on all seven linears. Both factors are random, so that it changes what the model says. */
function writeAdapter(name, seed, rank, index, withGguf) {
  const shape = shapes[name];
  const files = filesOf(name);
  const folder = files.adapter(rank, index);
  const alpha = 2 * rank;
  fs.mkdirSync(folder, { recursive: true });
  const pairs = [];
  for (let layer = 0; layer < shape.layers; layer += 1) {
    for (const linear of linearsOf(shape)) {
      const [outputs, inputs] = linear.dims;
      const key = `r${rank}/${index}/${layer}.${linear.name}`;
      pairs.push({
        name: `base_model.model.model.layers.${layer}.${linear.name}`,
        gguf: `blk.${layer}.${linear.gguf}.weight`,
        ropeHeads: linear.ropeHeads,
        a: { dims: [rank, inputs], bits: () => randomBf16(seed, `${key}.a`, rank * inputs, 1 / Math.sqrt(inputs)) },
        b: { dims: [outputs, rank], bits: () => randomBf16(seed, `${key}.b`, outputs * rank, 0.1 / Math.sqrt(rank)) },
      });
    }
  }
  writeSafetensors(
    path.join(folder, 'adapter_model.safetensors'),
    pairs.flatMap(({ name: module, a, b }) => [
      { name: `${module}.lora_A.weight`, dims: a.dims, dtype: 'BF16', data: a.bits },
      { name: `${module}.lora_B.weight`, dims: b.dims, dtype: 'BF16', data: b.bits },
    ]),
  );
  fs.writeFileSync(
    path.join(folder, 'adapter_config.json'),
    json({
      peft_type: 'LORA',
      task_type: 'CAUSAL_LM',
      base_model_name_or_path: `random-${name}`,
      r: rank,
      lora_alpha: alpha,
      lora_dropout: 0,
      bias: 'none',
      fan_in_fan_out: false,
      inference_mode: true,
      target_modules: linearsOf(shape).map((linear) => linear.name.split('.')[1]),
    }),
  );
  if (!withGguf) return;
  writeGguf(
    files.adapterGguf(rank, index),
    [
      ['general.architecture', 'string', 'llama'],
      ['general.type', 'string', 'adapter'],
      ['adapter.type', 'string', 'lora'],
      ['adapter.lora.alpha', 'f32', alpha],
    ],
    // f32, as convert_lora_to_gguf writes by default.
    pairs.flatMap(({ gguf, ropeHeads, a, b }) => [
      { name: `${gguf}.lora_a`, dims: a.dims, type: 'f32', data: () => bf16ToF32(a.bits()) },
      {
        name: `${gguf}.lora_b`,
        dims: b.dims,
        type: 'f32',
        data: () => bf16ToF32(ropeHeads ? interleaveRotaryRows(b.bits(), ...b.dims, ropeHeads) : b.bits()),
      },
    ]),
  );
}

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', default: 'small,base' },
    adapters: { type: 'string', default: '16' },
    rank: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1' },
    'no-gguf': { type: 'boolean', default: false },
    force: { type: 'boolean', default: false },
  },
});

for (const name of options.shape.split(',')) {
  if (!shapes[name]) throw new Error(`no shape is called "${name}"; expected one of ${Object.keys(shapes).join(', ')}`);
  const withGguf = !options['no-gguf'];
  const files = filesOf(name);
  const missing = (file) => options.force || !fs.existsSync(file);
  if (missing(path.join(files.huggingFace, 'tokenizer_config.json')) || (withGguf && missing(files.gguf))) {
    writeModel(name, Number(options.seed), withGguf);
  }
  for (const rank of options.rank.split(',').map(Number)) {
    for (let index = 0; index < Number(options.adapters); index += 1) {
      const done = !missing(path.join(files.adapter(rank, index), 'adapter_config.json'));
      if (!done || (withGguf && missing(files.adapterGguf(rank, index)))) writeAdapter(name, Number(options.seed), rank, index, withGguf);
    }
  }
  console.log(
    `${name}: ${(parameterCount(shapes[name]) / 1e6).toFixed(0)} M weights and ${options.adapters} adapters of rank ${options.rank} in ${files.root}`,
  );
}
