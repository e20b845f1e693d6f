// Which author wrote it? The adapter that finds a text least surprising. All texts under all adapters run in shared steps.
//   node examples/score_texts.mjs
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loadModel } from 'heddle';

const folder = (name) => fileURLToPath(new URL(`storyteller/${name}`, import.meta.url));

const names = await readdir(folder('adapters'));
const model = await loadModel(folder('base'), { adapters: Object.fromEntries(names.map((name) => [name, folder(`adapters/${name}`)])) });

const texts = [
  'To be, or not to be, that is the question:\nWhether tis nobler in the mind to suffer',
  'I celebrate myself, and sing myself,\n  And what I assume you shall assume,',
  'TELEPHONE, n.  An invention of the devil which abrogates some of the\nadvantages of making a disagreeable person keep his distance.',
  'To Sherlock Holmes she is always the woman. I have seldom heard him\nmention her under any other name.',
  'The Congress should act on this legislation, and the American people expect a responsible budget this year.',
];

for (const text of texts) {
  const scores = await Promise.all([undefined, ...names].map((adapter) => model.score({ text, adapter })));
  const ranking = scores
    .map(({ perplexity }, i) => ({ name: i === 0 ? '(base)' : names[i - 1], perplexity }))
    .sort((a, b) => a.perplexity - b.perplexity);
  console.log(`${ranking[0].name}: ${JSON.stringify(text.slice(0, 50))}`);
  console.log(`  ${ranking.map(({ name, perplexity }) => `${name} ${perplexity.toFixed(1)}`).join(', ')}\n`);
}

const { steps, maxRequestsInStep, maxAdaptersInStep } = model.stats();
console.log(`${steps} steps, up to ${maxRequestsInStep} requests and ${maxAdaptersInStep} adapters in one`);
model.dispose();
