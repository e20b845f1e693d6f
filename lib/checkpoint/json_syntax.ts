/** Where a JSON text breaks the grammar, and how. V8's own messages do not always have the position. */
export interface SyntaxFault {
  readonly at: number;
  readonly message: string;
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const literal = /(?:true|false|null)(?!\w)/y;
const shortEscapes = '"\\/bfnrt';

type Expected = 'a value' | "a value or ']'" | 'a key' | "a key or '}'" | "':'" | "',' or ']'" | "',' or '}'" | 'nothing more';

/** The first fault of a text; undefined when it is valid JSON. */
export function findSyntaxFault(text: string): SyntaxFault | undefined {
  const open: string[] = [];
  let expected: Expected = 'a value';
  let at = 0;
  const afterValue = (): Expected => (open.length === 0 ? 'nothing more' : open.at(-1) === '[' ? "',' or ']'" : "',' or '}'");
  for (;;) {
    while (at < text.length && ' \t\n\r'.includes(text[at] as string)) at++;
    const c = text[at];
    if (c === undefined) return expected === 'nothing more' ? undefined : fault(text, at, expected);
    if (c === '"' && (expected.startsWith('a value') || expected.startsWith('a key'))) {
      const end = stringEnd(text, at);
      if (typeof end !== 'number') return end;
      at = end;
      expected = expected.startsWith('a key') ? "':'" : afterValue();
    } else if ((c === '[' || c === '{') && expected.startsWith('a value')) {
      open.push(c);
      at++;
      expected = c === '[' ? "a value or ']'" : "a key or '}'";
    } else if ((c === ']' || c === '}') && expected.endsWith(`'${c}'`)) {
      open.pop();
      at++;
      expected = afterValue();
    } else if (c === ',' && expected.startsWith("','")) {
      at++;
      expected = open.at(-1) === '[' ? 'a value' : 'a key';
    } else if (c === ':' && expected === "':'") {
      at++;
      expected = 'a value';
    } else {
      const length = expected.startsWith('a value') ? Math.max(matchLength(number, text, at), matchLength(literal, text, at)) : 0;
      if (length === 0) return fault(text, at, expected);
      at += length;
      expected = afterValue();
    }
  }
}

function fault(text: string, at: number, expected: string): SyntaxFault {
  return { at, message: `expected ${expected}, found ${at < text.length ? JSON.stringify(text[at]) : 'the end'}` };
}

function matchLength(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

function stringEnd(text: string, begin: number): number | SyntaxFault {
  for (let at = begin + 1; at < text.length; at++) {
    const c = text[at] as string;
    if (c === '"') return at + 1;
    if (c < ' ') return { at, message: `a control character inside a string: ${JSON.stringify(c)}` };
    if (c !== '\\') continue;
    const next = text[++at];
    const valid = next === 'u' ? /^[\da-fA-F]{4}$/.test(text.slice(at + 1, at + 5)) : next !== undefined && shortEscapes.includes(next);
    if (!valid && next !== undefined) return { at: at - 1, message: 'an unknown escape in a string' };
  }
  return { at: text.length, message: 'a string without an end' };
}
