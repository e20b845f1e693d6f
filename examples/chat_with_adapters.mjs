// Two characters talk: one model in memory, a different adapter for every turn.
//   node examples/chat_with_adapters.mjs
import { fileURLToPath } from 'node:url';
import { loadModel } from 'heddle';

const folder = (name) => fileURLToPath(new URL(`storyteller/${name}`, import.meta.url));

const model = await loadModel(folder('base'), { adapters: { poet: folder('adapters/poet'), cynic: folder('adapters/cynic') } });

let text = 'What is a city?\n';
console.log(text);
for (const [turn, name] of ['poet', 'cynic', 'poet', 'cynic'].entries()) {
  process.stdout.write(`${name}: `);
  // Every answer sees all that was said before.
  const request = { prompt: text, adapter: name, maxTokens: 32, temperature: 0.7, topP: 0.9, seed: turn, stop: '\n\n\n' };
  for await (const piece of model.generate(request)) {
    process.stdout.write(piece.text);
    text += piece.text;
  }
  text += '\n';
  console.log('\n');
}

// An adapter can be replaced or taken away while the model goes on; what it holds in memory is in memory().
model.adapters.unload('cynic');
console.log(
  model.adapters
    .list()
    .map(({ name, kind, ranks, parameters }) => `${name}: ${kind}, rank ${ranks}, ${parameters} parameters`)
    .join('\n'),
);
model.dispose();
