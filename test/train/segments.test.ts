import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { ChatTemplate } from '../../lib/text/chat_template.js';
import { BadExample } from '../../lib/train/data/example_line.js';
import { type Segment, segmentsOf } from '../../lib/train/data/segments.js';
import { tokeniseDrafts } from '../../lib/train/data/tokenise.js';
import { useTokenizer } from './tokenizers.js';

const chatMl =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
// As some templates do: only the last answer keeps its thoughts.
const thoughts =
  "{% for m in messages %}{{ '[' + m.role + ']' }}{% if m.role == 'assistant' and loop.last %}{{ '(hm)' }}{% endif %}{{ m.content }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}";
const withoutPrompt =
  "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'now:' }}{% endif %}";
const strict =
  "{% if messages and messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}{{ messages | length }} {{ tools | tojson }}";

const say = (...contents: string[]) => contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
const options = { trainOnPrompt: false, assistantTurns: 'all' as const };
const chat = (source: string, messages: { role: string; content: string }[], more = {}, tools?: unknown[]): Promise<Segment[]> =>
  segmentsOf({ form: 'messages', messages, ...(tools === undefined ? {} : { tools }) }, new ChatTemplate(source), { ...options, ...more });

describe('segmentsOf', () => {
  it('learns text, and of prompt and completion the completion, or both', async () => {
    expect(await segmentsOf({ form: 'text', text: 'a' }, undefined, options)).toEqual([{ text: 'a', learned: true }]);
    const example = { form: 'completion', prompt: 'a', completion: 'b' } as const;
    expect((await segmentsOf(example, undefined, options)).map(({ learned }) => learned)).toEqual([false, true]);
    expect((await segmentsOf(example, undefined, { ...options, trainOnPrompt: true })).map(({ learned }) => learned)).toEqual([true, true]);
    expect(await segmentsOf({ ...example, prompt: '' }, undefined, options)).toEqual([{ text: 'b', learned: true }]);
  });

  it('learns what the assistant says, with the end of its turn', async () => {
    expect(await chat(chatMl, [{ role: 'system', content: 'S' }, ...say('Q1', 'A1', 'Q2', 'A2', 'Q3')])).toEqual([
      { text: '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\n', learned: false },
      { text: 'A1<|im_end|>\n', learned: true },
      { text: '<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n', learned: false },
      { text: 'A2<|im_end|>\n', learned: true },
      { text: '<|im_start|>user\nQ3<|im_end|>\n', learned: false },
    ]);
  });

  it('learns only the last turn, or all of the text, where asked', async () => {
    const last = await chat(chatMl, say('Q1', 'A1', 'Q2', 'A2'), { assistantTurns: 'last' });
    expect(last.filter(({ learned }) => learned)).toEqual([{ text: 'A2<|im_end|>\n', learned: true }]);
    const whole = last.map(({ text }) => text).join('');
    expect(await chat(chatMl, say('Q1', 'A1', 'Q2', 'A2'), { trainOnPrompt: true })).toEqual([{ text: whole, learned: true }]);
  });

  it('takes answers that follow one another', async () => {
    const messages = [...say('Q', 'A'), { role: 'assistant', content: 'B' }];
    const learned = (await chat(chatMl, messages)).filter((segment) => segment.learned);
    expect(learned.map(({ text }) => text)).toEqual(['A<|im_end|>\n', 'B<|im_end|>\n']);
  });

  it('says that a template cannot be cut, and what helps', async () => {
    await expect(chat(thoughts, say('Q1', 'A1', 'Q2', 'A2'))).rejects.toThrow(BadExample);
    await expect(chat(thoughts, say('Q1', 'A1', 'Q2', 'A2'))).rejects.toThrow(
      /messages\[1\]: .*the end of the answer.*assistantTurns 'last'/,
    );
    const last = await chat(thoughts, say('Q1', 'A1', 'Q2', 'A2'), { assistantTurns: 'last' });
    expect(last).toEqual([
      { text: '[user]Q1[assistant]A1[user]Q2[assistant]', learned: false },
      { text: '(hm)A2', learned: true },
    ]);
    await expect(chat(withoutPrompt, say('Q', 'A'))).rejects.toThrow(/the beginning of an answer.*; trainOnPrompt does without/);
    expect(await chat(withoutPrompt, say('Q', 'A'), { trainOnPrompt: true })).toEqual([{ text: 'user: Q\nassistant: A\n', learned: true }]);
  });

  it('passes on tools, and what a template refuses', async () => {
    expect(await chat(strict, say('Q', 'A'), { trainOnPrompt: true }, [{ name: 'f' }])).toEqual([
      { text: '2 [{"name": "f"}]', learned: true },
    ]);
    await expect(chat(strict, [{ role: 'system', content: 'S' }])).rejects.toThrow(/user first/);
    await expect(chat(chatMl, say('Q'))).rejects.toThrow(/no message has the role assistant/);
    await expect(segmentsOf({ form: 'messages', messages: say('Q', 'A') }, undefined, options)).rejects.toThrow(OptionError);
  });
});

describe('a chat as tokens', () => {
  const tokenizer = useTokenizer('qwen2');

  it('learns the answers up to the token that ends them, and not the line break after it', async () => {
    const segments = await chat(chatMl, say('the whale?', 'the whale.', 'and?', 'so'));
    const [result] = await tokeniseDrafts([{ segments, document: false }], tokenizer.get(), undefined);
    if (result instanceof BadExample || result === undefined) throw result;
    const encode = (text: string): number[] => tokenizer.get().encode(text, { addSpecialTokens: false });
    expect([...result.ids]).toEqual(encode(segments.map(({ text }) => text).join('')));
    const learned = [...result.labels].filter((label) => label !== -1);
    expect(learned).toEqual([...encode('the whale.<|im_end|>'), ...encode('so<|im_end|>')]);
    result.labels.forEach((label, i) => {
      if (label !== -1) expect(label).toBe(result.ids[i + 1]);
    });
  });
});
