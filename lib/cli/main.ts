#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { packageRoot } from '../runtime/load_binding.js';
import { buildCommand } from './build_command.js';
import { demoCommand } from './demo_command.js';
import { generateCommand } from './generate_command.js';
import { inspectCommand } from './inspect_command.js';
import { reportError } from './output.js';
import { scoreCommand } from './score_command.js';

const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };

const program = new Command('heddle')
  .description('Many LoRA adapters over one language model in one batch.')
  .version(version)
  .showSuggestionAfterError()
  .showHelpAfterError('(run with --help for all options)')
  .addHelpText(
    'after',
    `
Examples:
  heddle demo
  heddle generate --model ./llama --adapter sql=./adapters/sql --prompt "List all customers" --use sql
  heddle generate --model ./llama --adapter a=./a --adapter b=./b --input requests.jsonl --json
  heddle score --model ./llama --input texts.jsonl --json
  heddle inspect ./adapters/sql

Exit codes: 0 all went well, 1 something failed (the message says what), 2 wrong usage, 130 interrupted.`,
  );
for (const command of [demoCommand(), generateCommand(), scoreCommand(), inspectCommand(), buildCommand()]) program.addCommand(command.exitOverride());
program.exitOverride();

async function main(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are no failures; commander has printed them.
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    reportError(error, process.argv.includes('--json'));
    process.exitCode = (error as Error).name === 'AbortError' ? 130 : 1;
  }
}

// A reader that has seen enough (head, less) closes the pipe: that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
void main();
