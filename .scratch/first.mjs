import { loadModel } from 'heddle';

const model = await loadModel('examples/storyteller/base', {
  adapters: {
    poet: 'examples/storyteller/adapters/poet',
    detective: 'examples/storyteller/adapters/detective',
  },
});

// Three requests, two adapters and the bare base, in the same steps.
const prompt = 'The sea was calm that night, and';
const answers = await model.generateBatch(
  [undefined, 'poet', 'detective'].map((adapter) => ({ prompt, adapter, maxTokens: 24, temperature: 0 })),
);
for (const { text, finishReason } of answers) console.log(finishReason, JSON.stringify(text));

// Or one, as it is made.
for await (const piece of model.generate({ prompt, adapter: 'poet', maxTokens: 24, temperature: 0.8, seed: 7 })) {
  process.stdout.write(piece.text);
}
console.log();
console.log(model.stats(), model.memory());
model.dispose();
