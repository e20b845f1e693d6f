// Texts that trained adapters continue, for the report.
import type { AdapterData } from './adapter_data.js';
import { exampleCount, noLabel } from './data/example_set.js';
import type { SampleEvent } from './events.js';
import type { TrainSettings } from './options.js';
import type { ContinuationRequest, TrainingModel } from './step_runner.js';

interface Prompt {
  readonly text: string;
  readonly given: string | Int32Array;
}

// Where there is no prompt in the data, an example's beginning is one.
const beginningTokens = 16;
const shortestPrompt = 4;

/** What each adapter, and the bare base beside it, writes after its prompts. @param folders of the saved adapters by name */
export async function writeSamples(
  model: TrainingModel,
  settings: TrainSettings,
  adapters: readonly AdapterData[],
  folders: ReadonlyMap<string, string>,
  step: number,
  signal?: AbortSignal,
): Promise<SampleEvent[]> {
  const { samples, seed } = settings;
  if (samples === false) return [];
  const { maxTokens, temperature } = samples;
  const wanted: { request: ContinuationRequest; adapter: string | null; text: string }[] = [];
  for (const adapter of adapters) {
    const prompts = samples.prompts?.map((text) => ({ text, given: text })) ?? promptsOf(adapter, model, samples.count);
    for (const { text, given } of prompts)
      for (const name of [null, adapter.name]) {
        const folder = name === null ? undefined : folders.get(name);
        wanted.push({ request: { folder, prompt: given, maxTokens, temperature, seed }, adapter: name, text });
      }
  }
  const texts = await model.continueTexts(
    wanted.map(({ request }) => request),
    signal,
  );
  return wanted.map(({ adapter, text: prompt }, i) => ({ type: 'sample', step, adapter, prompt, text: texts[i] as string }));
}

// Spread over the held-out examples, or where there are none over those that were learned.
function promptsOf({ heldOut, training }: AdapterData, { tokenizer }: TrainingModel, count: number): Prompt[] {
  const set = heldOut ?? training;
  const total = exampleCount(set);
  const prompts: Prompt[] = [];
  for (let i = 0; i < Math.min(count, total); i++) {
    const example = Math.floor((i * total) / Math.min(count, total));
    const start = set.starts[example] as number;
    const length = set.lengths[example] as number;
    let unlearned = 0;
    while (unlearned < length && set.labels[start + unlearned] === noLabel) unlearned++;
    const size = unlearned >= shortestPrompt ? Math.min(length, unlearned + 1) : Math.max(1, Math.min(beginningTokens, length >> 1));
    const given = set.ids.slice(start, start + size);
    prompts.push({ text: tokenizer.decode(given, { skipSpecialTokens: true }), given });
  }
  return prompts;
}
