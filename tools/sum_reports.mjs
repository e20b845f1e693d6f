// Adds up the test reports of a CI run and prints the closing line.
//   node tools/sum_reports.mjs FOLDER [failed step]...
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, ...failedSteps] = process.argv.slice(2);
const total = { passed: 0, failed: 0 };

function add(name, passed, failed) {
  console.log(`  ${name}: ${passed} passed, ${failed} failed`);
  total.passed += passed;
  total.failed += failed;
  return failed;
}

const failuresOf = {};
for (const file of readdirSync(folder).sort()) {
  const name = file.replace(/\.\w+$/, '');
  const text = readFileSync(join(folder, file), 'utf8');
  if (file.endsWith('.json')) {
    const report = JSON.parse(text);
    failuresOf[name] = add(name, report.numPassedTests, report.numFailedTests);
  } else {
    const counts = [...text.matchAll(/(\d+) passed, (\d+) failed/g)].at(-1);
    if (counts) failuresOf[name] = add(name, Number(counts[1]), Number(counts[2]));
  }
}
// A step that failed without a failed test (it did not compile, a file did not load, the linter objects) is one failure.
for (const step of failedSteps) {
  console.log(`  failed step: ${step}`);
  if (!failuresOf[step]) total.failed++;
}
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed || !total.passed ? 1 : 0;
