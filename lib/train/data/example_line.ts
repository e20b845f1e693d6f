// A line of JSONL as an example.
import { findSyntaxFault } from '../../checkpoint/json_syntax.js';
import { shownValue } from '../../runtime/shown_value.js';
import { didYouMean } from '../../runtime/suggest.js';
import type { ChatMessage } from '../../text/chat_template.js';

/** An example as a file gives it. */
export type Example =
  | { readonly form: 'text'; readonly text: string }
  | { readonly form: 'completion'; readonly prompt: string; readonly completion: string }
  | { readonly form: 'messages'; readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] }
  | { readonly form: 'tokens'; readonly tokens: readonly number[]; readonly labels?: readonly number[] };

/** Names of the forms. */
export type ExampleForm = Example['form'];

/** Thrown for a line that is no example; the message is the reason. */
export class BadExample extends Error {}

const fieldsOf: Record<ExampleForm, readonly string[]> = {
  text: ['text'],
  completion: ['prompt', 'completion'],
  messages: ['messages'],
  tokens: ['tokens'],
};
const forms = Object.keys(fieldsOf) as ExampleForm[];
const knownFields = Object.values(fieldsOf).flat();
const ignored = -100;

/** Reads a line. Throws BadExample. @param vocabularySize token ids are below it */
export function parseExample(line: string, form: ExampleForm | 'auto', vocabularySize: number): Example {
  const value = parseObject(line);
  const found = form === 'auto' ? detectForm(value) : form;
  for (const field of fieldsOf[found]) if (!Object.hasOwn(value, field)) throw new BadExample(missing(field, value));
  switch (found) {
    case 'text':
      return { form: 'text', text: textField(value, 'text') };
    case 'completion':
      return { form: 'completion', prompt: textField(value, 'prompt', true), completion: textField(value, 'completion') };
    case 'messages':
      return messagesOf(value);
    case 'tokens':
      return tokensOf(value, vocabularySize);
  }
}

function parseObject(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    const fault = findSyntaxFault(line);
    throw new BadExample(`not valid JSON: ${fault === undefined ? (error as Error).message : `column ${fault.at + 1}: ${fault.message}`}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadExample(`the line is ${kindOf(value)}: expected a JSON object`);
  return value as Record<string, unknown>;
}

function detectForm(value: Record<string, unknown>): ExampleForm {
  const found = forms.filter((form) => fieldsOf[form].some((field) => Object.hasOwn(value, field)));
  if (found.length === 1) return found[0] as ExampleForm;
  const names = Object.keys(value);
  if (found.length > 1) {
    const given = names.filter((name) => knownFields.includes(name));
    throw new BadExample(`the line has ${given.join(' and ')}: expected one form; the option 'form' chooses`);
  }
  const typing = names.map((name) => didYouMean(name, knownFields)).find((hint) => hint !== '') ?? '';
  const listed = names.length === 0 ? 'no field' : `the fields ${names.slice(0, 8).join(', ').slice(0, 200)}`;
  throw new BadExample(`the line has ${listed}: expected text, prompt and completion, messages, or tokens.${typing}`);
}

function missing(field: string, value: Record<string, unknown>): string {
  const others = Object.keys(value).filter((name) => !knownFields.includes(name));
  const near = others.find((name) => didYouMean(name, [field]) !== '');
  return `${field} is missing${near === undefined ? '' : `: the line has '${near}'`}`;
}

function textField(value: Record<string, unknown>, field: string, mayBeEmpty = false): string {
  const text = value[field];
  if (typeof text !== 'string') throw new BadExample(`${field} is ${kindOf(text)}: expected a string`);
  if (text === '' && !mayBeEmpty) throw new BadExample(`${field} is empty`);
  if (/\p{Surrogate}/u.test(text)) throw new BadExample(`${field} holds half a surrogate pair, which is no character`);
  return text;
}

function messagesOf(value: Record<string, unknown>): Example {
  const { messages, tools } = value;
  if (!Array.isArray(messages)) throw new BadExample(`messages is ${kindOf(messages)}: expected an array`);
  if (messages.length === 0) throw new BadExample('messages is empty');
  messages.forEach((message: unknown, i) => {
    if (typeof message !== 'object' || message === null || Array.isArray(message))
      throw new BadExample(`messages[${i}] is ${kindOf(message)}: expected an object`);
    const { role } = message as { role?: unknown };
    if (typeof role !== 'string') throw new BadExample(`messages[${i}].role is ${kindOf(role)}: expected a string`);
  });
  if (tools !== undefined && tools !== null && !Array.isArray(tools)) throw new BadExample(`tools is ${kindOf(tools)}: expected an array`);
  return { form: 'messages', messages: messages as ChatMessage[], ...(Array.isArray(tools) ? { tools } : {}) };
}

function tokensOf(value: Record<string, unknown>, vocabularySize: number): Example {
  const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabularySize;
  const tokens = idsOf(value, 'tokens', isId, `an id from 0 to ${vocabularySize - 1}`);
  if (tokens.length === 0) throw new BadExample('tokens is empty');
  if (value.labels === undefined || value.labels === null) return { form: 'tokens', tokens };
  const labels = idsOf(value, 'labels', (id) => id === ignored || isId(id), `${ignored} or an id from 0 to ${vocabularySize - 1}`);
  if (labels.length !== tokens.length)
    throw new BadExample(`labels has ${labels.length} entries: expected ${tokens.length}, one per token`);
  return { form: 'tokens', tokens, labels };
}

function idsOf(value: Record<string, unknown>, field: string, valid: (id: unknown) => boolean, expected: string): number[] {
  const ids = value[field];
  if (!Array.isArray(ids)) throw new BadExample(`${field} is ${kindOf(ids)}: expected an array of ids`);
  const wrong = ids.findIndex((id) => !valid(id));
  if (wrong >= 0) throw new BadExample(`${field}[${wrong}] is ${shownValue(ids[wrong])}: expected ${expected}`);
  return ids as number[];
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `${typeof value === 'number' ? 'the number' : typeof value} ${JSON.stringify(value).slice(0, 40)}`;
}
