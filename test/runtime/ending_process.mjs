// Ends in the way that its first argument names, with a model of the folder in the second.
import { loadModel, tensor } from '../../dist/lib/index.js';

const [way, folder] = process.argv.slice(2);
const ways = {
  // With requests under way.
  async exit() {
    const model = await loadModel(folder);
    for (let i = 0; i < 8; i++) void model.complete({ tokens: [3 + i], maxTokens: 900, ignoreEos: true });
    for await (const _ of model.generate({ tokens: [3], maxTokens: 900, ignoreEos: true })) process.exit(7);
  },
  async exitWhileLoading() {
    void loadModel(folder, { onProgress: () => process.exit(7) });
  },
  async throw() {
    const model = await loadModel(folder);
    void model.complete({ tokens: [3], maxTokens: 900, ignoreEos: true });
    setTimeout(() => {
      throw new Error('on purpose');
    }, 20);
  },
  // By having nothing left to do; the model is never disposed.
  async natural() {
    const model = await loadModel(folder);
    const { text } = await model.complete({ prompt: 'It was a', maxTokens: 8, temperature: 0 });
    console.log(text.length > 0 ? 'answered' : 'silent');
  },
  async naturalWithAnUnfinishedLoop() {
    const model = await loadModel(folder);
    await model.generate({ tokens: [3, 4], maxTokens: 40, ignoreEos: true }).next();
    console.log('answered');
  },
  async naturalWithTensors() {
    globalThis.kept = Array.from({ length: 50 }, () => tensor('f32', [1000], new Float32Array(1000)));
    console.log('answered');
  },
};
await ways[way]();
