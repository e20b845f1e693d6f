#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { packageRoot } from '../runtime/load_binding.js';
import { buildCommand } from './build_command.js';
import { demoCommand } from './demo_command.js';
import { generateCommand } from './generate_command.js';
import { inspectCommand } from './inspect_command.js';
import { mergeCommand } from './merge_command.js';
import { exitCodeOf, printJson, reportError, sayLine, watchOutput } from './output.js';
import { scoreCommand } from './score_command.js';
import { trainCommand } from './train_command.js';

const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
const json = process.argv.includes('--json');

const program = new Command('heddle')
  .description('Many LoRA adapters over one language model in one batch.')
  .version(version)
  .addHelpText(
    'after',
    `
Examples:
  heddle demo
  heddle generate --model ./llama --adapter sql=./adapters/sql --prompt "List all customers" --use sql
  heddle generate --model ./llama --adapter a=./a --adapter b=./b --input requests.jsonl --json
  heddle score --model ./llama --input texts.jsonl --json
  heddle train --model ./llama --data notes.txt --output ./notes
  heddle merge --model ./llama --adapter ./adapters/sql --output ./llama-sql
  heddle inspect ./adapters/sql

heddle <command> --help explains a command. Answers go to standard output, progress and errors to standard error.

Exit codes: 0 all went well, 1 something failed (the message says what), 2 wrong usage, 130 interrupted.`,
  );
for (const command of [demoCommand(), generateCommand(), scoreCommand(), trainCommand(), mergeCommand(), inspectCommand(), buildCommand()])
  program.addCommand(command);
for (const command of [program, ...program.commands]) {
  command.exitOverride().showSuggestionAfterError();
  command.configureOutput({ outputError: (text) => reportUsage(command, text) });
}

// One line: what is wrong, what was probably meant, where help is.
function reportUsage(command: Command, text: string): void {
  const path = command === program ? 'heddle' : `heddle ${command.name()}`;
  const message = text
    .trim()
    .replace(/^error: /, '')
    .replaceAll('\n', ' ');
  if (json) printJson({ error: { code: 'ERR_HEDDLE_OPTION', message } });
  sayLine(`${path}: ${message}${/[.?)]$/.test(message) ? '' : '.'} See ${path} --help`);
}

async function main(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are no failures; commander has printed them.
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    reportError(error, json);
    process.exitCode = exitCodeOf(error);
  }
}

watchOutput();
void main();
