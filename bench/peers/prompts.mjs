// The prompts of all drivers: letters that the byte-level tokenizers turn into one token each (there is no "h", so no merge).
const letters = 'abcdefgijklmnopqrstuvwxyz ';

export function promptText(stream, length) {
  let state = (12345 + 7919 * stream) >>> 0;
  let text = '';
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += letters[(state >>> 16) % 26];
  }
  return text;
}

/** Ids 0 to 2 are control tokens, then the bytes follow in order. */
export const promptTokens = (stream, length) => Array.from(Buffer.from(promptText(stream, length)), (byte) => byte + 3);
