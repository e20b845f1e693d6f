import { OptionError } from '../../errors.js';

/** Groups of things: group `g` is `members[offsets[g]]` up to `members[offsets[g + 1]]`. */
export interface Groups {
  readonly members: Int32Array;
  readonly offsets: Int32Array;
}

/** Number of groups. */
export function groupCount(groups: Groups): number {
  return groups.offsets.length - 1;
}

/** The members of a group. */
export function groupAt(groups: Groups, group: number): Int32Array {
  return groups.members.subarray(groups.offsets[group], groups.offsets[group + 1]);
}

/** Examples seen at once by `pack`: more fill better, fewer keep the order. */
export const lookAhead = 1024;

/**
 * Puts things into as few groups of at most `capacity` as it can: first-fit-decreasing (Johnson, 1974) over `window` things at a time.
 * With a window of 1, or where `window` things never share a group, the order stays. Members of a group keep the order of `order`.
 * Deterministic. Throws OptionError where one thing alone is larger than the capacity.
 */
export function pack(order: ArrayLike<number>, sizes: ArrayLike<number>, capacity: number, window = lookAhead): Groups {
  const members = new Int32Array(order.length);
  const offsets: number[] = [0];
  let filled = 0;
  for (let from = 0; from < order.length; from += window) {
    const places = Array.from({ length: Math.min(window, order.length - from) }, (_, i) => from + i);
    const sizeAt = (place: number): number => sizes[order[place] as number] as number;
    for (const group of firstFitDecreasing(places, sizeAt, capacity)) {
      for (const place of group) members[filled++] = order[place] as number;
      offsets.push(filled);
    }
  }
  return { members, offsets: Int32Array.from(offsets) };
}

function firstFitDecreasing(places: number[], sizeAt: (place: number) => number, capacity: number): number[][] {
  const groups: { left: number; places: number[] }[] = [];
  let firstOpen = 0;
  for (const place of [...places].sort((a, b) => sizeAt(b) - sizeAt(a) || a - b)) {
    const size = sizeAt(place);
    if (size > capacity) throw tooLarge(size, capacity);
    while (firstOpen < groups.length && (groups[firstOpen] as { left: number }).left === 0) firstOpen++;
    let g = firstOpen;
    while (g < groups.length && (groups[g] as { left: number }).left < size) g++;
    groups[g] ??= { left: capacity, places: [] };
    const group = groups[g] as { left: number; places: number[] };
    group.left -= size;
    group.places.push(place);
  }
  const sorted = groups.map((group) => group.places.sort((a, b) => a - b));
  return sorted.sort((a, b) => (a[0] as number) - (b[0] as number));
}

/** Fills groups of at most `capacity` one after the other, in the order given. Throws OptionError where one thing alone is larger. */
export function fillInOrder(order: ArrayLike<number>, sizes: ArrayLike<number>, capacity: number): Groups {
  const offsets: number[] = [0];
  let used = 0;
  for (let i = 0; i < order.length; i++) {
    const size = sizes[order[i] as number] as number;
    if (size > capacity) throw tooLarge(size, capacity);
    if (i > 0 && used + size > capacity) {
      offsets.push(i);
      used = 0;
    }
    used += size;
  }
  if (order.length > 0) offsets.push(order.length);
  return { members: Int32Array.from(order), offsets: Int32Array.from(offsets) };
}

function tooLarge(size: number, capacity: number): OptionError {
  return new OptionError(`an example has ${size} tokens: expected at most ${capacity}, the tokens of a batch`, {
    option: 'tokensPerBatch',
    size,
    capacity,
  });
}
