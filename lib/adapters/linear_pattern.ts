// Regular expressions from strangers, matched in time proportional to pattern times text: all states at once, no backtracking.

type Test = (character: string) => boolean;

type Node =
  | { kind: 'empty' }
  | { kind: 'character'; test: Test }
  | { kind: 'boundary'; holds: (text: string, at: number) => boolean }
  | { kind: 'sequence' | 'choice'; parts: Node[] }
  | { kind: 'repeat'; part: Node; least: number; most: number };

interface State {
  /** Consumes a character, or asks something of the position; neither: goes on to all of `next`. */
  readonly test?: Test;
  readonly holds?: (text: string, at: number) => boolean;
  next: number[];
}

const largestPattern = 1000;
const largestMachine = 5000;

/** The part of Python's and JavaScript's regular expressions that needs no backtracking. Throws SyntaxError that says what is not understood. */
export class LinearPattern {
  private readonly states: State[] = [{ next: [] }];
  private readonly start: number;

  constructor(source: string) {
    if (source.length > largestPattern) throw new SyntaxError(`it is longer than ${largestPattern} characters`);
    this.start = this.build(new Parser(source).parse(), 0);
  }

  /** True when the whole text matches. */
  matches(text: string): boolean {
    let current = this.reach([this.start], text, 0);
    for (let at = 0; at < text.length && current.size > 0; at++) {
      const character = text[at] as string;
      const following = [...current].flatMap((index) => {
        const { test, next } = this.states[index] as State;
        return test?.(character) ? next : [];
      });
      current = this.reach(following, text, at + 1);
    }
    return current.has(0);
  }

  // Everything that can be reached without consuming a character. State 0 is the end.
  private reach(from: readonly number[], text: string, at: number): Set<number> {
    const found = new Set<number>();
    const open = [...from];
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      if (found.has(index)) continue;
      found.add(index);
      const { test, holds, next } = this.states[index] as State;
      if (test === undefined && (holds === undefined || holds(text, at))) open.push(...next);
    }
    return found;
  }

  // Gives the state that a node begins with, when `next` comes after it.
  private build(node: Node, next: number): number {
    switch (node.kind) {
      case 'empty':
        return next;
      case 'character':
        return this.add({ test: node.test, next: [next] });
      case 'boundary':
        return this.add({ holds: node.holds, next: [next] });
      case 'sequence':
        return node.parts.reduceRight((after, part) => this.build(part, after), next);
      case 'choice':
        return this.add({ next: node.parts.map((part) => this.build(part, next)) });
      case 'repeat': {
        let after = next;
        if (node.most === Number.POSITIVE_INFINITY) {
          after = this.add({ next: [next] });
          (this.states[after] as State).next.push(this.build(node.part, after));
        } else {
          for (let i = node.least; i < node.most; i++) after = this.add({ next: [next, this.build(node.part, after)] });
        }
        for (let i = 0; i < node.least; i++) after = this.build(node.part, after);
        return after;
      }
    }
  }

  private add(state: State): number {
    if (this.states.length >= largestMachine) throw new SyntaxError('it repeats too much');
    return this.states.push(state) - 1;
  }
}

const isWord = (character: string | undefined): boolean => character !== undefined && /^\w$/.test(character);
const atWordEdge = (text: string, at: number): boolean => isWord(text[at - 1]) !== isWord(text[at]);

class Parser {
  private at = 0;
  private depth = 0;

  constructor(private readonly source: string) {}

  parse(): Node {
    const node = this.choice();
    if (this.at < this.source.length) throw new SyntaxError(`')' at ${this.at} closes nothing`);
    return node;
  }

  private choice(): Node {
    const parts = [this.sequence()];
    while (this.take('|')) parts.push(this.sequence());
    return parts.length === 1 ? (parts[0] as Node) : { kind: 'choice', parts };
  }

  private sequence(): Node {
    const parts: Node[] = [];
    while (this.at < this.source.length && !'|)'.includes(this.source[this.at] as string)) parts.push(this.repeated());
    return { kind: 'sequence', parts };
  }

  private repeated(): Node {
    let part = this.single();
    for (;;) {
      const range = /^(?:([*+?])|\{(\d*)(,?)(\d*)\})/.exec(this.source.slice(this.at));
      if (range === null) return part;
      this.at += range[0].length;
      this.take('?'); // lazy or not makes no difference to whether there is a match
      const [, sign, from, comma, to] = range;
      const least = sign === undefined ? Number(from || 0) : sign === '+' ? 1 : 0;
      const most =
        sign === undefined ? (comma ? (to ? Number(to) : Number.POSITIVE_INFINITY) : least) : sign === '?' ? 1 : Number.POSITIVE_INFINITY;
      if (least > most || least > largestPattern) throw new SyntaxError(`${range[0]} is no range`);
      part = { kind: 'repeat', part, least, most };
    }
  }

  private single(): Node {
    const character = this.source[this.at++] as string;
    if (character === '(') return this.group();
    if (character === '[') return this.set();
    if (character === '\\') return this.escaped();
    if (character === '.') return { kind: 'character', test: (c) => c !== '\n' };
    if (character === '^') return { kind: 'boundary', holds: (_, at) => at === 0 };
    if (character === '$') return { kind: 'boundary', holds: (text, at) => at === text.length };
    if ('*+?'.includes(character)) throw new SyntaxError(`'${character}' at ${this.at - 1} repeats nothing`);
    return { kind: 'character', test: (c) => c === character };
  }

  private group(): Node {
    if (++this.depth > 50) throw new SyntaxError('its groups are nested too deeply');
    const kind = /^\?(?::|P?<[A-Za-z_]\w*>)/.exec(this.source.slice(this.at));
    if (kind !== null) this.at += kind[0].length;
    else if (this.source[this.at] === '?') throw new SyntaxError(`'(${this.source.slice(this.at, this.at + 2)}' is not supported`);
    const node = this.choice();
    if (!this.take(')')) throw new SyntaxError('a group is not closed');
    this.depth--;
    return node;
  }

  private set(): Node {
    const found = /^\^?\]?(?:\\.|[^\]\\])*\]/s.exec(this.source.slice(this.at));
    if (found === null) throw new SyntaxError('a set of characters is not closed');
    this.at += found[0].length;
    // One character at a time, so that the built-in expressions cannot backtrack.
    const members = found[0]
      .slice(0, -1)
      .replace(/^(\^?)\]/, '$1\\]')
      .replace(/\[/g, '\\[');
    const expression = new RegExp(`^[${members}]$`, 's');
    return { kind: 'character', test: (c) => expression.test(c) };
  }

  private escaped(): Node {
    const character = this.source[this.at++];
    if (character === undefined) throw new SyntaxError('it ends with a backslash');
    if ('dDwWsS'.includes(character)) {
      const expression = new RegExp(`^\\${character}$`);
      return { kind: 'character', test: (c) => expression.test(c) };
    }
    if (character === 'A') return { kind: 'boundary', holds: (_, at) => at === 0 };
    if (character === 'Z') return { kind: 'boundary', holds: (text, at) => at === text.length };
    if (character === 'b') return { kind: 'boundary', holds: atWordEdge };
    if (character === 'B') return { kind: 'boundary', holds: (text, at) => !atWordEdge(text, at) };
    if (/[A-Za-z0-9]/.test(character)) throw new SyntaxError(`'\\${character}' is not supported`);
    return { kind: 'character', test: (c) => c === character };
  }

  private take(character: string): boolean {
    if (this.source[this.at] !== character) return false;
    this.at++;
    return true;
  }
}
