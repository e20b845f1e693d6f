// Two trainings in one folder would take each other's checkpoints away: the second is refused, and nothing that is left over refuses any.
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { FolderLock } from '../../lib/train/folder_lock.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { runTraining } from '../../lib/train/train.js';
import { failure } from '../checkpoint/failure.ts';
import { openBigram } from './bigram_model.ts';
import { dataFolder } from './data_folder.ts';
import { startTraining } from './run_training.ts';

const folder = dataFolder();
const data = folder.write('counting.txt', Array.from({ length: 60 }, (_, i) => `${i} comes before ${i + 1}.\n`).join(''));
const options = (output: string) =>
  parseTrainOptions({ model: 'bigram', data: { files: data, maxLength: 32 }, output, steps: 6, samples: false });

describe('a folder in which a training runs', () => {
  it('takes no other of this process, by whatever path', async () => {
    const output = join(folder.path, 'one');
    symlinkSync(output, join(folder.path, 'link'));
    const refused: Error[] = [];
    const onAccumulate = async (): Promise<number> => {
      refused.push(await failure(FolderLock.take(output)), await failure(FolderLock.take(join(folder.path, 'link'))));
      return 0;
    };
    const { steps } = await runTraining(options(output), {}, openBigram({ onAccumulate }));
    expect(steps).toBe(6);
    expect(refused.length).toBeGreaterThanOrEqual(12);
    for (const error of refused) expect(error).toBeInstanceOf(OptionError);
    expect(refused[0]?.message).toBe(
      `another training runs in ${output} (process ${process.pid}): wait for its end, or choose another output folder`,
    );
    expect(readdirSync(output).sort()).toEqual([...['adapter_model.safetensors', 'checkpoint-6.safetensors', 'log.jsonl', 'report.html']]);
    await (await FolderLock.take(output))[Symbol.asyncDispose]();
  });

  it('takes none of another process', async () => {
    const output = join(folder.path, 'two');
    const words = [
      '--model',
      'bigram',
      '--data',
      data,
      '--output',
      output,
      '--max-length',
      '32',
      '--steps',
      '200',
      '--no-samples',
      '--json',
    ];
    let second: ReturnType<typeof startTraining>['ended'] | undefined;
    const first = startTraining(words, {
      delay: 20,
      onEvent: (event, child) => {
        if (event.type !== 'step' || second !== undefined) return;
        second = startTraining(words).ended;
        void second.then(() => child.kill('SIGINT'));
      },
    });
    const { code, stderr } = await first.ended;
    expect(stderr).toContain('which is saved');
    expect(code).toBe(130);
    expect(await second).toMatchObject({
      code: 1,
      stderr: `heddle: another training runs in ${output} (process ${first.child.pid}): wait for its end, or choose another output folder\n`,
    });
    expect(existsSync(join(output, '.training.lock'))).toBe(false);
  });
});

describe('a lock that nobody holds', () => {
  const started = 'at another time';
  it.each([
    ['is not written to its end', '{"token":"a","ho'],
    ['is empty', ''],
    ['is of an earlier process with our number', JSON.stringify({ token: 'a', host: hostname(), pid: process.pid, started })],
    ['is of a process whose number another one has now', JSON.stringify({ token: 'a', host: hostname(), pid: process.ppid, started })],
    ['is of a process that is gone', JSON.stringify({ token: 'a', host: hostname(), pid: 2 ** 22 + 1, started })],
    ['is of another machine', JSON.stringify({ token: 'a', host: `not ${hostname()}`, pid: process.ppid, started })],
  ])('%s', async (_, content) => {
    const path = folder.write('.training.lock', content);
    const lock = await FolderLock.take(folder.path);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
    await lock[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
  });

  it('of somebody else stays when ours is given back', async () => {
    const path = join(folder.path, '.training.lock');
    const lock = await FolderLock.take(folder.path);
    writeFileSync(path, JSON.stringify({ token: 'b', host: hostname(), pid: 1, started }));
    await lock[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(true);
  });
});
