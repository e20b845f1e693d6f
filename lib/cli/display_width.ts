// How many terminal columns text takes, and text that is safe to show.

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
const invisible = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]+$/u;
const wide =
  /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f|[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}])/u;

/** Characters as a reader sees them. */
export function* characters(text: string): Iterable<string> {
  for (const { segment } of graphemes.segment(text)) yield segment;
}

/** Columns that one character takes. */
export function characterWidth(character: string): number {
  if (character.length === 1) {
    const code = character.charCodeAt(0);
    if (code < 0x7f && code >= 0x20) return 1;
  }
  if (invisible.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}

/** Columns that a line of text takes. */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of characters(text)) width += characterWidth(character);
  return width;
}

/** The start of a line that fits, with an ellipsis where something is missing. */
export function fitWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  if (width < 1) return '';
  let used = 0;
  let result = '';
  for (const character of characters(text)) {
    const next = used + characterWidth(character);
    if (next > width - 1) break;
    used = next;
    result += character;
  }
  return `${result}…`;
}

/** Text without what steers a terminal: generated text and file names come from strangers. Line breaks stay. */
export function printable(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/\t/g, '    ')
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (found) => (found === '\n' ? found : ''));
}
