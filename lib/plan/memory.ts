import type { Slices } from '../runtime/slices.js';
import { type LogicalProgram, maxBytes, place, type Value } from './ir.js';

/** Where every owner of memory lies in the arena, and how large the arena is. */
export interface ArenaLayout {
  readonly offsets: ReadonlyMap<Value, number>;
  readonly bytes: number;
}

interface Interval {
  readonly value: Value;
  readonly bytes: number;
  first: number;
  last: number;
}

const alignment = 64;

/** Lays all intermediates out in one arena: values whose lives do not meet share bytes. Largest first, each at the lowest free offset. */
export function* layOutArena(program: LogicalProgram): Slices<ArenaLayout> {
  const intervals = new Map<Value, Interval>();
  const touch = (value: Value | undefined, time: number): void => {
    if (value === undefined) return;
    const { owner } = place(value);
    if (owner.bound !== undefined) return;
    let interval = intervals.get(owner);
    if (interval === undefined) {
      const bytes = Math.ceil(maxBytes(owner, program.extents) / alignment) * alignment;
      interval = { value: owner, bytes, first: time, last: time };
      intervals.set(owner, interval);
    }
    interval.first = Math.min(interval.first, time);
    interval.last = Math.max(interval.last, time);
    if (owner.pinned) {
      interval.first = -1;
      interval.last = Number.POSITIVE_INFINITY;
    }
  };
  for (const [time, node] of program.nodes.entries()) {
    for (const value of [...node.inputs, ...node.outputs]) touch(value, time);
    yield;
  }
  for (const { value } of [...program.inputs, ...program.outputs]) touch(value, -1);

  const offsets = new Map<Value, number>();
  // Ascending by offset, so that one walk over those that live at the same time finds the lowest gap.
  const placed: (Interval & { offset: number })[] = [];
  let total = 0;
  for (const interval of [...intervals.values()].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    let offset = 0;
    for (const other of placed) {
      if (other.first > interval.last || interval.first > other.last) continue;
      if (other.offset - offset >= interval.bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    offsets.set(interval.value, offset);
    const after = placed.findIndex((other) => other.offset > offset);
    placed.splice(after < 0 ? placed.length : after, 0, { ...interval, offset });
    total = Math.max(total, offset + interval.bytes);
    yield;
  }
  return { offsets, bytes: total };
}
