// Do all engines mean the same model by these files? The same prompt, the last logits and the greedy tokens, with and without an adapter.
//   node bench/peers/check_same.mjs [--shape small]
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { drivers } from '../drivers.mjs';

const { values: options } = parseArgs({ options: { shape: { type: 'string', default: 'small' } } });
const job = { job: 'logits', shape: options.shape, prompt: 24, steps: 12, threads: 2 };
const large = { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore'] };

let failed = false;
for (const adapters of [0, 1]) {
  const answers = [];
  for (const name of ['llamaC', 'torch', 'heddle']) {
    if (drivers[name].missing) {
      console.log(`${name}: left out (${drivers[name].missing})`);
      continue;
    }
    const [program, ...words] = drivers[name].command({ ...job, adapters });
    answers.push({ name, ...JSON.parse(execFileSync(program, words, large).trim().split('\n').pop()) });
  }
  const [first, ...others] = answers;
  for (const other of others) {
    const agreeing = first.tokens.findIndex((token, index) => token !== other.tokens[index]);
    // bf16 rounds differently from engine to engine: near ties may fall apart late in a long answer, not at the first token.
    const same = agreeing === -1 ? first.tokens.length : agreeing;
    const apart = other.logits ? Math.max(...first.logits.map((logit, index) => Math.abs(logit - other.logits[index]))) : undefined;
    const ok = same >= 4 && (apart === undefined || apart < 0.5);
    failed ||= !ok;
    console.log(
      `${ok ? 'ok' : 'DIFFERENT'}  ${first.name} and ${other.name}, ${adapters ? 'with an adapter' : 'bare'}: ${same} of ${first.tokens.length} tokens the same` +
        `${apart === undefined ? '' : `, logits at most ${apart.toFixed(3)} apart`}`,
    );
  }
}
process.exitCode = failed ? 1 : 0;
