import { z } from 'zod';
import { parseOptions } from '../../runtime/parse_options.js';
import type { BadLine } from './bad_lines.js';

const count = z.number().int().min(1);
const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const callback = <F>() => z.custom<F>((f) => typeof f === 'function', 'expected a function').optional();

/** Where examples come from and how they become batches. */
export const dataSchema = z.strictObject({
  /** Files with examples. */
  files,
  /** JSONL (an object per line) or plain text. 'auto' goes by the file's name, and where that does not tell by its first line. */
  format: z.enum(['auto', 'jsonl', 'text']).default('auto'),
  /** What the lines of JSONL hold. 'auto' goes by the fields of each line; any other makes lines of another form bad lines. */
  form: z.enum(['auto', 'text', 'completion', 'messages', 'tokens']).default('auto'),
  /** A plain text file is one document, or several with blank lines between them. */
  documents: z.enum(['file', 'blank-lines']).default('file'),
  /** Learn prompts, and what is not the assistant's in chats, too. */
  trainOnPrompt: z.boolean().default(false),
  /** Which answers of a chat are learned. Some templates write earlier turns in another way than the last; for them only 'last' is possible. */
  assistantTurns: z.enum(['all', 'last']).default('all'),
  /** End documents and completions with the tokenizer's end of text. Default: where it has one. */
  endOfText: z.boolean().optional(),
  /** Tokens of an example at most. Default: what the trainer can take. */
  maxLength: count.min(2).optional(),
  /** What becomes of longer examples: cut into several, cut off, or bad lines. Default: text is split, all else is truncated. */
  tooLong: z.enum(['split', 'truncate', 'error']).optional(),
  /** Bad lines that are skipped, and reported, before reading fails. */
  maxBadLines: z.number().int().min(0).default(0),
  /** Bytes of a line at most. */
  maxLineBytes: count.max(2 ** 28).default(2 ** 24),
  /** Held out for evaluation: files, or a share of the examples. */
  evaluation: z.union([z.number().gt(0).lt(1), files]).optional(),
  /** Put short examples together: `batchSize` then counts packs of up to `maxLength` tokens. */
  pack: z.boolean().default(false),
  /** Examples of a step. */
  batchSize: count.default(8),
  /** Tokens that are run at once at most: a step of more is run in parts. Default: what the trainer can take. */
  tokensPerBatch: count.optional(),
  /** A new order in every epoch; else always that of the files. */
  shuffle: z.boolean().default(true),
  /** Order, packs and the share held out depend on it alone. */
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  /** Told of each bad line. */
  onBadLine: callback<(line: BadLine) => void>(),
});

/** Data of an adapter as users write it: a file, several, or files with options. */
export type DataOptions = string | readonly string[] | z.input<typeof dataSchema>;

/** Data options with every default filled in. */
export type DataSettings = z.output<typeof dataSchema> & { files: string[] };

/** Fills in the defaults. Throws OptionError naming the option, its value and what was expected. */
export function parseDataOptions(options: DataOptions, what = 'data'): DataSettings {
  const written = typeof options === 'string' || Array.isArray(options) ? { files: options } : options;
  const settings = parseOptions(dataSchema, written, what);
  return { ...settings, files: typeof settings.files === 'string' ? [settings.files] : settings.files };
}
