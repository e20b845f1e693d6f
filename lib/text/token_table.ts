// Turns a vocabulary and its decoder into bytes per token, so that decoding needs neither the library nor its thread.

import type { TokenTable } from './stream_decoder.js';
import { type AddedToken, refuse, type TokenizerFile } from './tokenizer_rules.js';

type Step = Record<string, unknown>;
/** A library decoder step applied to a single token. */
export type DecodeOne = (step: Step, token: string) => string;

interface Plan {
  /** Changes to a token's text, in order. */
  edits: ((text: string, added: boolean) => string)[];
  byteLevel: boolean;
  byteFallback: boolean;
  dropSpaces: number;
  dropSpacesOfFirst: boolean;
  /** Set for WordPiece: what marks a token that continues a word. */
  wordPrefix: string | undefined;
  /** WordPiece puts no space before punctuation. */
  tidy: boolean;
  joined: boolean;
}

/** Builds the table of all tokens; `texts[id]` is undefined where an id is not used. */
export function buildTokenTable(
  file: TokenizerFile,
  texts: readonly (string | undefined)[],
  added: ReadonlyMap<number, AddedToken>,
  decodeOne: DecodeOne,
): TokenTable {
  const plan = makePlan(file.decoder, decodeOne);
  const count = texts.length;
  const offsets = new Uint32Array(count + 1);
  const special = new Uint8Array(count);
  const spaced = plan.wordPrefix === undefined ? undefined : new Uint8Array(count);
  const pieces: Uint8Array[] = new Array(count);
  const encoder = new TextEncoder();
  let total = 0;
  for (let id = 0; id < count; id++) {
    const token = added.get(id);
    if (token?.special === true) special[id] = 1;
    let text = texts[id] ?? '';
    if (spaced !== undefined && text !== '') {
      const prefix = plan.wordPrefix as string;
      if (prefix !== '' && text.startsWith(prefix)) text = text.slice(prefix.length);
      else if (!plan.tidy || !noSpaceBefore.test(text)) spaced[id] = 1;
    }
    for (const edit of plan.edits) text = edit(text, token !== undefined);
    const bytes =
      (plan.byteFallback ? fallbackByte(text) : undefined) ??
      (plan.byteLevel && token === undefined ? levelBytes(text) : undefined) ??
      encoder.encode(text);
    pieces[id] = bytes;
    offsets[id] = total;
    total += bytes.length;
  }
  offsets[count] = total;
  const bytes = new Uint8Array(total);
  for (let id = 0; id < count; id++) bytes.set(pieces[id] as Uint8Array, offsets[id] as number);
  return { bytes, offsets, special, spaced, dropSpaces: plan.dropSpaces, dropSpacesOfFirst: plan.dropSpacesOfFirst };
}

const noSpaceBefore = /^(?:[.?!,]|n't|'m|'s|'ve|'re)/;

function makePlan(decoder: Step | null, decodeOne: DecodeOne): Plan {
  const plan: Plan = {
    edits: [],
    byteLevel: false,
    byteFallback: false,
    dropSpaces: 0,
    dropSpacesOfFirst: false,
    wordPrefix: undefined,
    tidy: false,
    joined: false,
  };
  if (decoder === null) plan.wordPrefix = '';
  else addStep(plan, decoder, 'decoder', decodeOne);
  return plan;
}

function addStep(plan: Plan, step: Step, place: string, decodeOne: DecodeOne): void {
  const perToken = (): void => {
    if (plan.joined) refuse(place, step.type, 'a step on the joined text that works piece by piece', 'unsupported');
  };
  switch (step.type) {
    case 'Sequence':
      for (const [i, inner] of (step.decoders as Step[]).entries()) addStep(plan, inner, `${place}.decoders[${i}]`, decodeOne);
      return;
    case 'ByteLevel':
      perToken();
      plan.byteLevel = true;
      plan.joined = true;
      return;
    case 'ByteFallback':
      perToken();
      plan.byteFallback = true;
      return;
    case 'Fuse':
      plan.joined = true;
      return;
    case 'Strip':
      if (plan.joined) plan.dropSpaces += (step.start as number | undefined) ?? 0;
      else plan.edits.push((text) => decodeOne(step, text));
      return;
    case 'Metaspace': {
      perToken();
      const replacement = (step.replacement as string | undefined) ?? '\u2581';
      plan.edits.push((text) => text.replaceAll(replacement, ' '));
      plan.dropSpacesOfFirst = step.prepend_scheme !== 'never' && step.add_prefix_space !== false;
      return;
    }
    case 'WordPiece':
      perToken();
      plan.wordPrefix = (step.prefix as string | undefined) ?? '##';
      plan.tidy = step.cleanup !== false;
      return;
    default:
      perToken();
      plan.edits.push((text) => decodeOne(step, text));
  }
}

function fallbackByte(text: string): Uint8Array | undefined {
  const hex = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
  return hex === null ? undefined : Uint8Array.of(Number.parseInt(hex[1] as string, 16));
}

// Byte-level vocabularies write each byte as a printable character: its own where it has one, else one from U+0100 on.
const byteOfCharacter = ((): Map<number, number> => {
  const map = new Map<number, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(printable ? byte : next++, byte);
  }
  return map;
})();

/** The characters that byte-level vocabularies write bytes as. */
export const byteCharacters: readonly string[] = Array.from(byteOfCharacter.keys(), (code) => String.fromCharCode(code));

function levelBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfCharacter.get(text.charCodeAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
