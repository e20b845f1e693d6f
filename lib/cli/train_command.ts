import { Command } from 'commander';
import { AbortError } from '../errors.js';
import { openTrainingModel } from '../train/open_training_model.js';
import { readTrainOptions } from '../train/options.js';
import type { OpenTrainingModel } from '../train/step_runner.js';
import { runTraining } from '../train/train.js';
import { trainJsonSchema } from '../train/train_schema.js';
import { interruptSignal } from './interrupt.js';
import { goOnWithoutOutput, printJson } from './output.js';
import { TrainDisplay } from './train_display.js';
import { type TrainFlags, trainOptionsOf, withTraining } from './train_options.js';

/** `heddle train`: fine-tunes one adapter, or several at once. @param open opens the base model */
export function trainCommand(open: OpenTrainingModel = openTrainingModel): Command {
  return withTraining(new Command('train'))
    .description('fine-tune an adapter on your texts, or several at once over one base')
    .addHelpText(
      'after',
      `
A training keeps in --output:
  adapter_config.json, adapter_model.safetensors   the adapter as PEFT has it, in adapters/<name> where there are several
  checkpoint-<step>.safetensors                    all that --resume needs, every --save-every steps
  log.jsonl                                        a line per step and evaluation
  report.html                                      curves, held-out losses and continuations, in one file

Ctrl-C (and SIGTERM) finishes the step that is under way, saves it and says how to go on; a second one ends at once. Whatever ends a training,
--resume goes on from the last checkpoint and comes to the same bits. Where output cannot be written, as in a pipe that is closed, it goes on:
log.jsonl has everything.

With --json the output is a line per event: {"type": "data" | "plan" | "resume" | "step" | "evaluation" | "checkpoint" | "sample" | "end", …}.

A file for --config may have everything that is here by its name (learningRate, targetModules, …), data as files or as an object, and
adapters: {"a": {"data": …, "rank": …}, "b": {…}}, each with options of its own. Paths are seen from where the command runs.

Examples:
  heddle train --model ./llama --data notes.txt --method lora --rank 16 --output ./notes
  heddle train --model ./llama --data chats.jsonl --evaluation 0.05 --epochs 2 --output ./chats
  heddle train --model ./llama --adapter poet=poems.txt --adapter cynic=cynic.jsonl --output ./both
  heddle train --config training.json --resume
  heddle generate --model ./llama --adapter notes=./notes --use notes --prompt "Dear diary"`,
    )
    .action(async (flags: TrainFlags, command: Command) => {
      if (flags.printSchema) {
        process.stdout.write(`${JSON.stringify(trainJsonSchema(), null, 2)}\n`);
        return;
      }
      checkUsage(flags, command);
      await trainFrom(flags, open);
    });
}

function checkUsage(flags: TrainFlags, command: Command): void {
  const refuse = (message: string): never => command.error(`error: ${message}`);
  if (flags.data !== undefined && flags.adapter !== undefined)
    refuse('give only one of --data and --adapter: an --adapter brings its file');
  if (flags.sample !== undefined && flags.samples === false) refuse('give only one of --sample and --no-samples');
  if (flags.config !== undefined) return;
  for (const name of ['model', 'output']) if (flags[name] === undefined) refuse(`--${name} is missing`);
  if (flags.data === undefined && flags.adapter === undefined) refuse('give --data, --adapter or --config');
}

async function trainFrom(flags: TrainFlags, open: OpenTrainingModel): Promise<void> {
  const settings = await readTrainOptions(await trainOptionsOf(flags));
  const signal = interruptSignal({ patient: true });
  goOnWithoutOutput();
  const display = flags.json === true ? undefined : new TrainDisplay();
  try {
    await runTraining(
      settings,
      {
        resume: flags.resume === true,
        signal,
        onProgress: (progress) => display?.loading(progress),
        onEvent: (event) => (display === undefined ? printJson(event) : display.show(event)),
      },
      open,
    );
  } catch (error) {
    throw signal.aborted ? interrupted(error, flags.resume === true) : error;
  } finally {
    display?.[Symbol.dispose]();
  }
}

// What was saved, and the words that go on with it.
function interrupted(error: unknown, resumed: boolean): unknown {
  if ((error as Error | undefined)?.name !== 'AbortError') return error;
  const { step, totalSteps } = (error as AbortError).details ?? {};
  if (step === undefined) return new AbortError('interrupted', {}, { cause: error });
  const words = process.argv.slice(2).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return new AbortError(
    `interrupted after step ${step} of ${totalSteps}, which is saved. Go on with: heddle ${words.join(' ')}${resumed ? '' : ' --resume'}`,
    (error as AbortError).details,
    { cause: error },
  );
}
