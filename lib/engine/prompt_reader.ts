import type { z } from 'zod';
import { OptionError, PromptTooLongError, TokenizerError } from '../errors.js';
import type { ChatMessage, ChatTemplate } from '../text/chat_template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { generateSchema } from './generate_options.js';

/** What a model reads prompts with. */
export interface PromptParts {
  readonly name: string;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly tokenizer: Tokenizer | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
}

/** How a prompt is read. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Tokens at most; more are refused as early as can be. Default: any number. */
  readonly most?: number | undefined;
}

/** Turns what requests give into token ids of a model. */
export class PromptReader {
  constructor(private readonly parts: PromptParts) {}

  /** Token ids of a request to generate. */
  async prompt(request: z.output<typeof generateSchema>, options: ReadOptions): Promise<number[]> {
    const { name, chatTemplate } = this.parts;
    const { prompt, messages, tokens } = request;
    const given = [prompt, messages, tokens].filter((v) => v !== undefined);
    if (given.length !== 1) throw new OptionError(`a request gives one of prompt, messages and tokens: got ${given.length}`);
    if (tokens !== undefined) return this.tokens(tokens, options);
    if (prompt !== undefined) return this.text(prompt, options);
    if (chatTemplate === undefined) throw new OptionError(`${name} has no chat template: give prompt or tokens instead of messages`);
    // A template writes the special tokens itself.
    return this.text(await chatTemplate.render(messages as ChatMessage[], { signal: options.signal }), options, false);
  }

  /** Token ids of a text. */
  async text(text: string, { signal, most }: ReadOptions, addSpecialTokens = true): Promise<number[]> {
    const { name, tokenizer } = this.parts;
    if (tokenizer === undefined) throw new OptionError(`${name} has no tokenizer: give tokens instead of text`);
    try {
      const tokens = await tokenizer.encodeAsync(text, { addSpecialTokens, signal, mostTokens: most });
      this.check(tokens, 'tokens');
      return tokens;
    } catch (error) {
      if (most === undefined || !(error instanceof TokenizerError) || error.details.rule !== 'tokens') throw error;
      throw this.tooLong({ actual: error.details.atLeast as number, expected: most, atLeast: true });
    }
  }

  /** The token ids that a request gives itself. */
  tokens(tokens: number[], { most }: ReadOptions): number[] {
    if (most !== undefined && tokens.length > most) throw this.tooLong({ actual: tokens.length, expected: most });
    this.check(tokens, 'tokens');
    return tokens;
  }

  /** Throws OptionError where one of `tokens` is none of the model. */
  check(tokens: readonly number[], what: string): void {
    const { name, vocabularySize } = this.parts;
    for (const token of tokens)
      if (!Number.isInteger(token) || token < 0 || token >= vocabularySize)
        throw new OptionError(`${what}: ${token} is no token of ${name}: expected 0 to ${vocabularySize - 1}`, {
          actual: token,
          expected: vocabularySize - 1,
        });
  }

  /** `virtualTokens`: what an adapter puts in front of the text, which takes room of the context. */
  tooLong(found: { actual: number; expected: number; atLeast?: boolean; virtualTokens?: number }): PromptTooLongError {
    const { name, contextLength } = this.parts;
    const { actual, expected, atLeast = false, virtualTokens = 0 } = found;
    const besides = virtualTokens > 0 ? ` beside the ${virtualTokens} that the adapter brings` : '';
    return new PromptTooLongError(
      `the text has ${atLeast ? 'at least ' : ''}${actual} tokens: ${name} takes at most ${expected}${besides} in a context of ${contextLength}`,
      { actual, expected },
    );
  }
}
