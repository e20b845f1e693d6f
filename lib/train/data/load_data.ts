// From files to examples that a training can run over.
import { FileFormatError, OptionError } from '../../errors.js';
import { throwIfAborted } from '../../runtime/abort_signal.js';
import { readPieces } from '../../text/text_lines.js';
import { type BadLine, BadLines } from './bad_lines.js';
import { CorpusBuilder, cutDocuments, type Documents, holdOut } from './corpus.js';
import { checkDisjoint, type DataFile, openFiles, type PlacedExample, readDocuments, readJsonLines } from './data_files.js';
import type { DataSettings } from './data_options.js';
import { BadExample, type Example } from './example_line.js';
import { type ExampleSet, exampleCount, labelCount, noLabel, tokenCount } from './example_set.js';
import { encodeLongText } from './long_text.js';
import { endsReading, type MessageRenderer, segmentsOf } from './segments.js';
import { documentEnds, type ExampleTokenizer, labelTokens, type TextDraft, type TokenisedExample, tokeniseDrafts } from './tokenise.js';

/** Told while data is read. */
export interface DataProgress {
  readonly file: string;
  /** Bytes read of all files together. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly documents: number;
  readonly tokens: number;
}

/** What the data is read for. */
export interface DataContext {
  readonly tokenizer: ExampleTokenizer;
  /** Needed where the data holds messages. */
  readonly chatTemplate?: MessageRenderer;
  /** Tokens of an example at most, where the options do not say; the options cannot say more. */
  readonly maxLength: number;
  /** Why no more, for the message. Default: 'which is what the model takes'. */
  readonly maxLengthReason?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DataProgress) => void;
}

/** What was read, and what became of it. */
export interface DataReport {
  readonly files: readonly string[];
  /** Documents: lines of JSONL, or texts. */
  readonly documents: number;
  /** What they became: examples of at most `maxLength` tokens. */
  readonly examples: number;
  readonly tokens: number;
  /** Tokens that something is learned from. */
  readonly targets: number;
  /** Documents that were cut off. */
  readonly truncated: number;
  /** Documents that were cut into several examples. */
  readonly split: number;
  /** Pieces of split documents without any label, left out. */
  readonly withoutLabel: number;
  readonly badLines: number;
  /** The first thousand bad lines. */
  readonly firstBadLines: readonly BadLine[];
}

/** Examples to learn from and, where the options ask for it, others to evaluate with. */
export interface LoadedData {
  readonly training: ExampleSet;
  readonly evaluation: ExampleSet | undefined;
  readonly report: DataReport;
  readonly evaluationReport: DataReport | undefined;
}

const batchExamples = 128;
const batchCharacters = 512 * 1024;

/**
 * Reads, tokenises and cuts the data of one adapter; reading is streamed and tokenising happens off the event loop.
 * Throws FileFormatError for one bad line too many and for data without any example, FileAccessError, OptionError, AbortError.
 */
export async function loadData(settings: DataSettings, context: DataContext): Promise<LoadedData> {
  const maxLength = settings.maxLength ?? context.maxLength;
  if (maxLength > context.maxLength)
    throw new OptionError(
      `maxLength is ${maxLength}: expected at most ${context.maxLength}, ${context.maxLengthReason ?? 'which is what the model takes'}`,
      { option: 'maxLength' },
    );
  if (settings.endOfText === true && context.tokenizer.eosId === undefined && context.tokenizer.surroundings.after.length === 0)
    throw new OptionError('endOfText is true: the tokenizer has no token that ends a text', { option: 'endOfText' });
  throwIfAborted(context.signal);
  const { evaluation } = settings;
  const files = await openFiles(settings.files, settings);
  const evaluationFiles = evaluation === undefined || typeof evaluation === 'number' ? [] : await openFiles([evaluation].flat(), settings);
  await checkDisjoint(files, evaluationFiles);
  const totalBytes = [...files, ...evaluationFiles].reduce((sum, { bytes }) => sum + bytes, 0);
  const badLines = new BadLines(settings.maxBadLines, settings.onBadLine);
  const common = { settings, maxLength, context, badLines, totalBytes };
  const training = await new DataReader({ ...common, files, bytesBefore: 0 }).read();
  if (typeof evaluation === 'number') {
    const parts = holdOut(training.documents, evaluation, settings.seed);
    const first = cut({ ...training, documents: parts.training }, maxLength);
    // What happened while reading is told once.
    const second = cut({ ...training, documents: parts.heldOut, truncated: 0, badLines: 0, firstBadLines: [] }, maxLength);
    return { training: first.examples, evaluation: second.examples, report: first.report, evaluationReport: second.report };
  }
  const first = cut(training, maxLength);
  if (evaluationFiles.length === 0)
    return { training: first.examples, evaluation: undefined, report: first.report, evaluationReport: undefined };
  const bytesBefore = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const seen = badLines.count;
  const heldOut = await new DataReader({ ...common, files: evaluationFiles, bytesBefore }).read();
  const own = { badLines: heldOut.badLines - seen, firstBadLines: heldOut.firstBadLines.slice(seen) };
  const second = cut({ ...heldOut, ...own }, maxLength);
  return { training: first.examples, evaluation: second.examples, report: first.report, evaluationReport: second.report };
}

interface ReadDocuments {
  files: readonly string[];
  documents: Documents;
  truncated: number;
  badLines: number;
  firstBadLines: readonly BadLine[];
}

function cut({ documents, ...read }: ReadDocuments, maxLength: number): { examples: ExampleSet; report: DataReport } {
  const { examples, split, withoutLabel } = cutDocuments(documents, maxLength);
  const report: DataReport = {
    ...read,
    documents: documents.starts.length,
    examples: exampleCount(examples),
    tokens: tokenCount(examples),
    targets: labelCount(examples),
    split,
    withoutLabel,
  };
  return { examples, report };
}

interface ReaderInput {
  readonly files: readonly DataFile[];
  readonly settings: DataSettings;
  readonly maxLength: number;
  readonly context: DataContext;
  readonly badLines: BadLines;
  /** Bytes of the files that were read before, and of all. */
  readonly bytesBefore: number;
  readonly totalBytes: number;
}

class DataReader {
  readonly #input: ReaderInput;
  readonly #corpus = new CorpusBuilder();
  #truncated = 0;
  #bytesBefore: number;

  constructor(input: ReaderInput) {
    this.#input = input;
    this.#bytesBefore = input.bytesBefore;
  }

  async read(): Promise<ReadDocuments> {
    for (const file of this.#input.files) {
      let bytes = 0;
      const options = {
        signal: this.#input.context.signal,
        onBytes: (count: number): void => {
          bytes = count;
        },
      };
      const tell = (): void => this.#tell(file.path, this.#bytesBefore + bytes);
      if (file.format === 'jsonl') {
        const { vocabularySize } = this.#input.context.tokenizer;
        await this.#addAll(readJsonLines(file, this.#input.settings, vocabularySize, options), tell);
      } else if (this.#input.settings.documents === 'blank-lines')
        await this.#addAll(readDocuments(file, this.#input.settings, options), tell);
      else await this.#addLongText(file, readPieces(file.path, options), tell);
      this.#bytesBefore += file.bytes;
      this.#tell(file.path, this.#bytesBefore);
    }
    const files = this.#input.files.map(({ path }) => path);
    const { count, list } = this.#input.badLines;
    if (this.#corpus.documents === 0) {
      const bad = count === 0 ? '' : `: ${count} lines are bad, the first is ${list[0]?.file}:${list[0]?.line}: ${list[0]?.reason}`;
      throw new FileFormatError(`${files.join(', ')}: there is no example${bad}`, { file: files[0], rule: 'no example', badLines: list });
    }
    return { files, documents: this.#corpus.finish(), truncated: this.#truncated, badLines: count, firstBadLines: [...list] };
  }

  #tell(file: string, bytes: number): void {
    const { totalBytes } = this.#input;
    this.#input.context.onProgress?.({ file, bytes, totalBytes, documents: this.#corpus.documents, tokens: this.#corpus.tokens });
  }

  /** Adds examples in their order, many at a time. */
  async #addAll(examples: AsyncIterable<PlacedExample>, tell: () => void): Promise<void> {
    let waiting: PlacedExample[] = [];
    let characters = 0;
    for await (const placed of examples) {
      waiting.push(placed);
      characters += sizeOf(placed);
      if (waiting.length < batchExamples && characters < batchCharacters) continue;
      await this.#addBatch(waiting);
      tell();
      waiting = [];
      characters = 0;
    }
    await this.#addBatch(waiting);
  }

  async #addBatch(batch: readonly PlacedExample[]): Promise<void> {
    const { tokenizer, signal } = this.#input.context;
    // One after the other, as the renderer works: so an AbortSignal gets one listener at a time.
    const prepared: (TextDraft | TokenisedExample | BadExample)[] = [];
    for (const { example } of batch) prepared.push(await this.#prepare(example));
    const drafts = prepared.filter((part): part is TextDraft => 'segments' in part);
    const tokenised = await tokeniseDrafts(drafts, tokenizer, this.#input.settings.endOfText, signal);
    let next = 0;
    for (const [i, { file, line, example }] of batch.entries()) {
      const part = prepared[i] as TextDraft | TokenisedExample | BadExample;
      const result = 'segments' in part ? (tokenised[next++] as TokenisedExample | BadExample) : part;
      if (result instanceof BadExample) {
        this.#input.badLines.add({ file, line, reason: result.message });
        continue;
      }
      this.#corpus.append(result.ids, result.labels);
      this.#end({ file, line }, policyOf(example as Example, this.#input.settings), false);
    }
  }

  async #prepare(example: PlacedExample['example']): Promise<TextDraft | TokenisedExample | BadExample> {
    if (example instanceof BadExample) return example;
    if (example.form === 'tokens') return labelTokens(example.tokens, example.labels);
    try {
      const { signal, chatTemplate } = this.#input.context;
      return {
        segments: await segmentsOf(example, chatTemplate, { ...this.#input.settings, signal }),
        document: example.form !== 'messages',
      };
    } catch (error) {
      if (error instanceof BadExample) return error;
      throw error;
    }
  }

  async #addLongText(file: DataFile, pieces: AsyncIterable<string>, tell: () => void): Promise<void> {
    const { tokenizer, signal } = this.#input.context;
    const { before, after } = documentEnds(tokenizer, this.#input.settings.endOfText);
    this.#corpus.append(before, new Int32Array(before.length).fill(noLabel));
    let last: number | undefined;
    try {
      for await (const ids of encodeLongText(pieces, tokenizer, signal)) {
        throwIfAborted(signal);
        this.#corpus.appendLearned(ids);
        last = ids.at(-1) ?? last;
        tell();
      }
    } catch (error) {
      if (endsReading(error)) throw error;
      this.#corpus.drop();
      this.#input.badLines.add({ file: file.path, line: 1, reason: (error as Error).message });
      return;
    }
    if (last === undefined) {
      this.#corpus.drop();
      this.#input.badLines.add({ file: file.path, line: 1, reason: 'the file is empty' });
      return;
    }
    if (last !== after.at(-1)) this.#corpus.appendLearned(after);
    this.#end({ file: file.path, line: 1 }, this.#input.settings.tooLong ?? 'split', true);
  }

  /** Ends a document, or drops it as a bad line. */
  #end(place: { file: string; line: number }, tooLong: TooLong, continuous: boolean): void {
    const { maxLength, badLines } = this.#input;
    const { tokens } = this.#corpus.openSize;
    const isCutOff = tokens > maxLength && tooLong === 'truncate';
    if (isCutOff) this.#corpus.cutOff(maxLength);
    const reason = this.#fault(tokens, tooLong);
    if (reason !== undefined) {
      this.#corpus.drop();
      badLines.add({ ...place, reason });
      return;
    }
    if (isCutOff) this.#truncated++;
    this.#corpus.end({ continuous, splittable: tooLong === 'split' });
  }

  #fault(tokens: number, tooLong: TooLong): string | undefined {
    const { maxLength } = this.#input;
    if (tokens > maxLength && tooLong === 'error') return `the example has ${tokens} tokens: expected at most ${maxLength}`;
    if (this.#corpus.openSize.labels > 0) return undefined;
    if (tokens > maxLength && tooLong === 'truncate') return `the first ${maxLength} of ${tokens} tokens hold nothing that is learned`;
    return `nothing is learned from the example: it has ${tokens === 1 ? 'one token' : `${tokens} tokens, none of them with a label`}`;
  }
}

type TooLong = 'split' | 'truncate' | 'error';

// Text goes on where it was cut; an answer without its question is no example.
function policyOf(example: Example, { tooLong }: DataSettings): TooLong {
  return tooLong ?? (example.form === 'text' || (example.form === 'tokens' && example.labels === undefined) ? 'split' : 'truncate');
}

function sizeOf({ example }: PlacedExample): number {
  if (example instanceof BadExample) return 0;
  switch (example.form) {
    case 'text':
      return example.text.length;
    case 'completion':
      return example.prompt.length + example.completion.length;
    case 'messages':
      return example.messages.reduce((sum, { content }) => sum + (typeof content === 'string' ? content.length : 256), 0);
    case 'tokens':
      return example.tokens.length;
  }
}
