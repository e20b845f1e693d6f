// "Did you mean": the nearest of several names.

/** Fewest insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
export function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1];
      let cost = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        cost = Math.min(cost, (beforeLast[j - 2] as number) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[to.length] as number;
}

const longestWord = 100;

/** The candidate that a mistyped word most likely stands for; undefined where none is near. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  const plain = simplify(word);
  let best: string | undefined;
  // One mistake in three letters is still a typing error; more is another word.
  let bestDistance = Math.max(1, Math.floor(plain.length / 3)) + 1;
  if (plain.length > longestWord) return undefined;
  for (const candidate of candidates) {
    const other = simplify(candidate);
    if (Math.abs(other.length - plain.length) >= bestDistance) continue;
    const distance = editDistance(plain, other);
    // A word of one or two letters is near to everything of its length.
    if (distance < bestDistance && distance < Math.max(plain.length, other.length)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** The end of an error message: empty, or a question with the nearest name. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const found = suggest(word, candidates);
  return found === undefined ? '' : ` Did you mean '${found}'?`;
}

// Case, dashes and underscores are spelling habits: max_tokens, max-tokens and maxTokens are one name.
function simplify(word: string): string {
  return word.replace(/[-_]/g, '').toLowerCase();
}
