// Does what its first argument says on a CUDA device, in a process of its own that may be given faults; prints what happened as JSON.
import { compile, graph, loadModel, memory, openDevice, ops, tensor, train } from '../../dist/lib/index.js';

const [way, ...folders] = process.argv.slice(2);
const said = (error) => ({ name: error.name, code: error.code, message: error.message, device: error.details?.device });
const caught = async (work) => {
  try {
    return await work();
  } catch (error) {
    return said(error);
  }
};
const held = () => ({ bytes: memory().bytes, devices: memory().devices.map(({ bytes, blocks }) => ({ bytes, blocks })) });
const until = async (condition) => {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
};
const tokens = [5, 9, 12, 40, 7];
const ways = {
  async open() {
    return { auto: await caught(() => openDevice('auto')), cuda: await caught(() => openDevice('cuda')) };
  },
  async load() {
    const [folder] = folders;
    const auto = await caught(async () => {
      const model = await loadModel(folder, { maxRequests: 4 });
      const { tokens: made } = await model.complete({ tokens, maxTokens: 3, temperature: 0, ignoreEos: true });
      model.dispose();
      return { device: model.device, made };
    });
    await until(() => held().devices.every(({ bytes }) => bytes === 0));
    const between = held();
    const cuda = await caught(async () => {
      const model = await loadModel(folder, { device: 'cuda', maxRequests: 4 });
      model.dispose();
      return { device: model.device };
    });
    await until(() => held().devices.every(({ bytes }) => bytes === 0));
    return { auto, between, cuda, after: held() };
  },
  async train() {
    const [folder, data, output] = folders;
    return caught(() => train({ model: folder, data, output, device: 'cuda', steps: 1 }));
  },
  // The device goes while requests of both kinds run and wait.
  async lose() {
    const [folder, lora] = folders;
    const model = await loadModel(folder, { device: 'cuda', maxRequests: 2, adapters: { lora } });
    const request = (i) => ({ tokens: [5 + i, 9], maxTokens: 100, temperature: 0, ignoreEos: true, adapter: i % 2 ? 'lora' : undefined });
    const answers = await Promise.all([
      ...Array.from({ length: 5 }, (_, i) => caught(() => model.complete(request(i)))),
      caught(() => model.score({ tokens })),
    ]);
    const later = {
      request: await caught(() => model.complete(request(0))),
      adapter: await caught(() => model.adapters.load('again', lora)),
      load: await caught(() => loadModel(folder, { device: 'cuda' })),
      tensor: await caught(() => tensor('f32', [4], new Float32Array(4), openDevice('cuda'))),
    };
    const { runningRequests, waitingRequests } = model.stats();
    model.dispose();
    const other = await loadModel(folder, { device: 'cpu' });
    const { tokens: made } = await other.complete({ tokens, maxTokens: 3, temperature: 0, ignoreEos: true });
    other.dispose();
    await until(() => held().devices.every(({ bytes }) => bytes === 0));
    return { answers, later, runningRequests, waitingRequests, made: made.length, after: held().devices };
  },
  async loseProgram() {
    const device = openDevice('cuda');
    const x = tensor('f32', [3], Float32Array.of(1, 2, 3), device);
    const g = graph();
    const program = compile(g, { outputs: { y: ops.scale(g.weight('x', x), 2) } });
    const runs = [];
    for (let i = 0; i < 4; i++) runs.push(await caught(async () => [...(await program.run({})).y]));
    program.dispose();
    x.buffer.dispose();
    return { runs, after: held().devices };
  },
};
console.log(JSON.stringify(await ways[way]()));
