// What is measured, by whom, and what heddle is held to.

const jobs = {
  prefill: { job: 'prefill', prompt: 512 },
  decode: { job: 'decode', prompt: 64, steps: 24 },
};
const everyone = (job) => ({ heddle: job, llamaC: job, nodeLlama: job, torch: job });

/** Each in its best arrangement: llama.cpp was tried with one context an adapter, one context whose adapter is changed, and one thread a context. */
const manyAdapters = (job) => {
  const { adapters: _adapters, rank: _rank, ...bare } = job;
  return {
    heddle: job,
    heddleBare: { driver: 'heddle', ...bare },
    // Over weights in bf16, as the peers have them.
    heddlePlain: { driver: 'heddle', plain: true, ...job },
    heddlePlainBare: { driver: 'heddle', plain: true, ...bare },
    llamaC: { ...job, arrangement: 'threads' },
    llamaCSerial: { driver: 'llamaC', ...job, arrangement: 'contexts' },
    nodeLlama: { ...job, arrangement: 'threads' },
    torch: { ...job, steps: 8 },
  };
};

/**
 * sides: label → job, run by the driver of that name unless it says another. goals: the rate of heddle (or of the side `of`) must be
 * `ratio` times the best of `over`; or `field` of heddle's answer at most `atMost`.
 */
export const scenarios = {
  'prefill-512-base': {
    title: 'Prefill of 512 tokens, 1.1 B',
    sides: everyone({ ...jobs.prefill, shape: 'base' }),
    goals: [
      { over: ['torch'], ratio: 1.1 },
      { over: ['llamaC', 'nodeLlama'], ratio: 2.5 },
    ],
  },
  'prefill-512-small': {
    title: 'Prefill of 512 tokens, 163 M',
    sides: everyone({ ...jobs.prefill, shape: 'small' }),
    goals: [{ over: ['torch'], ratio: 1.1 }],
  },
  'decode-1-base': {
    title: 'Decode, one stream, 1.1 B',
    sides: everyone({ ...jobs.decode, shape: 'base', batch: 1 }),
    goals: [
      { over: ['llamaC'], ratio: 1.3 },
      { over: ['nodeLlama'], ratio: 2 },
    ],
  },
  'decode-1-small': {
    title: 'Decode, one stream, 163 M',
    sides: everyone({ ...jobs.decode, shape: 'small', batch: 1, steps: 96 }),
    goals: [
      { over: ['llamaC'], ratio: 1.3 },
      { over: ['nodeLlama'], ratio: 2 },
    ],
  },
  'decode-8-base': {
    title: 'Decode, 8 streams, 1.1 B',
    sides: everyone({ ...jobs.decode, shape: 'base', batch: 8 }),
    goals: [{ over: ['llamaC', 'nodeLlama'], ratio: 2 }],
  },
  'decode-8-small': {
    title: 'Decode, 8 streams, 163 M',
    sides: everyone({ ...jobs.decode, shape: 'small', batch: 8, steps: 48 }),
    goals: [{ over: ['llamaC', 'nodeLlama'], ratio: 2 }],
  },
};
for (const shape of ['base', 'small']) {
  for (const count of [8, 16]) {
    scenarios[`adapters-${count}-${shape}`] = {
      title: `Decode, ${count} streams with ${count} adapters, ${shape === 'base' ? '1.1 B' : '163 M'}`,
      sides: manyAdapters({ ...jobs.decode, shape, batch: count, adapters: count, rank: 16, steps: shape === 'base' ? 16 : 32 }),
      goals: [
        { over: ['llamaC', 'llamaCSerial', 'nodeLlama'], ratio: 4 },
        { over: ['heddleBare'], ratio: 0.92 },
        { of: 'heddlePlain', over: ['heddlePlainBare'], ratio: 0.92 },
      ],
    };
  }
  scenarios[`neighbour-${shape}`] = {
    title: `Decode, 8 streams, ${shape === 'base' ? '1.1 B' : '163 M'}, a busy process on one of the cores`,
    neighbour: true,
    sides: {
      heddle: { ...jobs.decode, shape, batch: 8, steps: 16 },
      heddleQuiet: { driver: 'heddle', quiet: true, ...jobs.decode, shape, batch: 8, steps: 16 },
      llamaC: { ...jobs.decode, shape, batch: 8, steps: 4, repeats: 1 },
      llamaCQuiet: { driver: 'llamaC', quiet: true, ...jobs.decode, shape, batch: 8, steps: 16 },
    },
    goals: [{ over: ['heddleQuiet'], ratio: 0.45 }],
  };
}
scenarios['step-overhead'] = {
  title: 'What a step costs outside kernels, 16 streams, 163 M',
  sides: { heddle: { ...jobs.decode, shape: 'small', batch: 16, steps: 64, profile: true } },
  goals: [
    { field: 'outsideMicroseconds', atMost: 50 },
    { field: 'insideMicroseconds', atMost: 50 },
  ],
};
scenarios['event-loop'] = {
  title: 'Event-loop delay while decoding with all threads, 8 streams, 1.1 B',
  sides: { heddle: { ...jobs.decode, shape: 'base', batch: 8, steps: 32, loop: true } },
  goals: [{ field: 'loopDelayP99Milliseconds', atMost: 2 }],
};

const training = { shape: 'small', documents: 4, length: 128, rank: 16, steps: 6 };
scenarios['training-small'] = {
  title: 'Training, LoRA of rank 16 on all linear layers, 4 x 128 tokens a step, 163 M',
  sides: { heddle: { driver: 'heddleTraining', ...training }, torch: { driver: 'torchTraining', ...training } },
  goals: [
    { over: ['torch'], ratio: 1.5 },
    { over: ['torch'], memory: 0.5 },
  ],
};
scenarios['training-least-memory-small'] = {
  title: 'The same with the least memory: all but the beginnings of layers computed again (PyTorch: gradient checkpointing)',
  sides: {
    heddle: { driver: 'heddleTraining', ...training, recompute: 'layer' },
    torch: { driver: 'torchTraining', ...training, checkpointing: 1 },
  },
  goals: [
    { over: ['torch'], ratio: 1.5 },
    { over: ['torch'], memory: 0.5 },
  ],
};
