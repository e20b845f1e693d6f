// Examples as text that is learned and text that is only read.
import { AbortError, DisposedError, OptionError, TokenizerError } from '../../errors.js';
import type { ChatMessage, RenderOptions } from '../../text/chat_template.js';
import { BadExample, type Example } from './example_line.js';

/** A part of an example's text. */
export interface Segment {
  readonly text: string;
  /** Whether the model is trained to write it. */
  readonly learned: boolean;
}

/** What turns messages into text: a ChatTemplate. */
export interface MessageRenderer {
  render(messages: readonly ChatMessage[], options?: RenderOptions): Promise<string>;
}

/** What decides which parts are learned. */
export interface SegmentOptions {
  readonly trainOnPrompt: boolean;
  readonly assistantTurns: 'all' | 'last';
  readonly signal?: AbortSignal;
}

const assistant = 'assistant';

/** The parts of an example of text. Throws BadExample. @param template needed for messages */
export async function segmentsOf(
  example: Exclude<Example, { form: 'tokens' }>,
  template: MessageRenderer | undefined,
  options: SegmentOptions,
): Promise<Segment[]> {
  switch (example.form) {
    case 'text':
      return [{ text: example.text, learned: true }];
    case 'completion':
      return nonEmpty([
        { text: example.prompt, learned: options.trainOnPrompt },
        { text: example.completion, learned: true },
      ]);
    case 'messages':
      if (template === undefined)
        throw new OptionError('the data holds messages, and the model has no chat template to turn them into text', { option: 'data' });
      return chatSegments(example, template, options);
  }
}

/**
 * The assistant's turns are found by rendering: up to the turn, with the beginning of an answer, and up to its end. Both must be
 * beginnings of the whole conversation as it is rendered.
 */
async function chatSegments(
  { messages, tools }: Extract<Example, { form: 'messages' }>,
  template: MessageRenderer,
  { trainOnPrompt, assistantTurns, signal }: SegmentOptions,
): Promise<Segment[]> {
  const render = (count: number, addGenerationPrompt: boolean): Promise<string> =>
    template
      .render(messages.slice(0, count), { addGenerationPrompt, signal, ...(tools === undefined ? {} : { tools }) })
      .catch(asBadExample);
  const whole = await render(messages.length, false);
  if (whole === '') throw new BadExample('the chat template makes no text of the messages');
  if (trainOnPrompt) return [{ text: whole, learned: true }];
  const all = messages.flatMap(({ role }, i) => (role === assistant ? [i] : []));
  if (all.length === 0) throw new BadExample(`no message has the role ${assistant}: nothing would be learned`);
  const turns = assistantTurns === 'last' ? all.slice(-1) : all;
  const segments: Segment[] = [];
  let done = 0;
  for (const turn of turns) {
    const before = await render(turn, true);
    const after = turn + 1 === messages.length ? whole : await render(turn + 1, false);
    if (!whole.startsWith(before) || !whole.startsWith(after) || before.length < done || after.length <= before.length)
      throw new BadExample(uncuttable(turn, turns.length, whole.startsWith(before)));
    segments.push(
      { text: whole.slice(done, before.length), learned: false },
      { text: whole.slice(before.length, after.length), learned: true },
    );
    done = after.length;
  }
  segments.push({ text: whole.slice(done), learned: false });
  return nonEmpty(segments);
}

function uncuttable(turn: number, turns: number, begins: boolean): string {
  const what = begins ? 'the end of the answer' : 'the beginning of an answer';
  const advice = turns > 1 ? `assistantTurns 'last', or trainOnPrompt` : 'trainOnPrompt';
  return `messages[${turn}]: the chat template writes ${what} in another way when more messages follow, so that the answer cannot be told from the rest; ${advice} does without`;
}

function asBadExample(error: unknown): never {
  if (error instanceof TokenizerError) throw new BadExample(error.message);
  throw error;
}

function nonEmpty(segments: Segment[]): Segment[] {
  return segments.filter(({ text }) => text !== '');
}

/** Whether an error ends the reading, and is not the fault of one example. */
export function endsReading(error: unknown): boolean {
  return error instanceof AbortError || error instanceof DisposedError || !(error instanceof BadExample || error instanceof TokenizerError);
}
