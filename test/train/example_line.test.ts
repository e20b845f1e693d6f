import { describe, expect, it } from 'vitest';
import { BadExample, type ExampleForm, parseExample } from '../../lib/train/data/example_line.js';

const parse = (value: unknown, form: ExampleForm | 'auto' = 'auto') => parseExample(JSON.stringify(value), form, 50);

describe('parseExample', () => {
  it('reads every form, and passes over other fields', () => {
    expect(parse({ text: 'a', id: 7 })).toEqual({ form: 'text', text: 'a' });
    expect(parse({ prompt: '', completion: 'b' })).toEqual({ form: 'completion', prompt: '', completion: 'b' });
    const messages = [{ role: 'user', content: 'x' }];
    expect(parse({ messages })).toEqual({ form: 'messages', messages });
    expect(parse({ messages, tools: [1] })).toEqual({ form: 'messages', messages, tools: [1] });
    expect(parse({ messages, tools: null })).toEqual({ form: 'messages', messages });
    expect(parse({ tokens: [0, 49] })).toEqual({ form: 'tokens', tokens: [0, 49] });
    expect(parse({ tokens: [0, 49], labels: [-100, 3] })).toEqual({ form: 'tokens', tokens: [0, 49], labels: [-100, 3] });
    expect(parse({ text: 'a', prompt: 'p' }, 'text')).toEqual({ form: 'text', text: 'a' });
    expect(parse({ text: 'emoji 🙂 and \u2028' })).toEqual({ form: 'text', text: 'emoji 🙂 and \u2028' });
  });

  it('refuses an id that is nested deeper than a stack', () => {
    const line = `{"tokens":[${'['.repeat(20_000)}${']'.repeat(20_000)}]}`;
    expect(() => parseExample(line, 'auto', 50)).toThrow(BadExample);
    expect(() => parseExample(line, 'auto', 50)).toThrow(/^tokens\[0\] is \[ \[.{1,40}: expected an id from 0 to 49$/);
  });

  it.each<[string, unknown, RegExp, (ExampleForm | 'auto')?]>([
    ['a number', 3, /the line is the number 3: expected a JSON object/],
    ['an array', [], /the line is an array/],
    ['null', null, /the line is null/],
    ['no field', {}, /the line has no field: expected text, prompt and completion, messages, or tokens/],
    ['a field with a mistake', { txet: 'a' }, /the fields txet: .* Did you mean 'text'\?/],
    ['two forms', { text: 'a', tokens: [1] }, /has text and tokens: expected one form/],
    ['half a form', { prompt: 'a', completed: 'b' }, /completion is missing: the line has 'completed'/],
    ['another form', { text: 'a' }, /messages is missing/, 'messages'],
    ['text of another type', { text: 5 }, /text is the number 5: expected a string/],
    ['null text', { text: null }, /text is null: expected a string/],
    ['empty text', { text: '' }, /text is empty/],
    ['empty completion', { prompt: 'a', completion: '' }, /completion is empty/],
    ['a prompt of messages', { prompt: [], completion: 'a' }, /prompt is an array: expected a string/],
    ['messages that are none', { messages: 'hi' }, /messages is string "hi": expected an array/],
    ['no messages', { messages: [] }, /messages is empty/],
    ['a message that is none', { messages: [{ role: 'user' }, 'x'] }, /messages\[1\] is string "x": expected an object/],
    ['a message without role', { messages: [{ content: 'x' }] }, /messages\[0\].role is missing: expected a string/],
    ['tools that are none', { messages: [{ role: 'user' }], tools: {} }, /tools is an object: expected an array/],
    ['no tokens', { tokens: [] }, /tokens is empty/],
    ['an id past the vocabulary', { tokens: [1, 50] }, /tokens\[1\] is 50: expected an id from 0 to 49/],
    ['an id that is no integer', { tokens: [1.5] }, /tokens\[0\] is 1.5/],
    ['too few labels', { tokens: [1, 2], labels: [1] }, /labels has 1 entries: expected 2/],
    ['a negative label', { tokens: [1], labels: [-1] }, /labels\[0\] is -1: expected -100 or an id from 0 to 49/],
    ['half a character', { text: 'a\ud83d' }, /text holds half a surrogate pair/],
  ])('says what is wrong: %s', (_, value, reason, form) => {
    expect(() => parse(value, form)).toThrow(BadExample);
    expect(() => parse(value, form)).toThrow(reason);
  });

  it('says where JSON is broken', () => {
    expect(() => parseExample('{"text": "a"', 'auto', 9)).toThrow(/not valid JSON: column 13: expected/);
    expect(() => parseExample('{"text": "a"} x', 'auto', 9)).toThrow(/not valid JSON: column 15/);
    expect(() => parseExample('plain', 'auto', 9)).toThrow(/not valid JSON: column 1/);
    expect(() => parseExample(`{"text":${'['.repeat(100_000)}`, 'auto', 9)).toThrow(BadExample);
  });

  it('does not take names of every object for fields', () => {
    expect(() => parseExample('{"__proto__": {"text": "a"}}', 'auto', 9)).toThrow(/the fields __proto__/);
    expect(() => parseExample('{"a": 1}', 'text', 9)).toThrow(/text is missing/);
  });
});
