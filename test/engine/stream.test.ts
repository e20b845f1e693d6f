// What a `for await` loop sees of a stream, whatever its producer does and when.
import { describe, expect, it } from 'vitest';
import { Stream } from '../../lib/engine/stream.js';
import { rejection } from './driving.js';

function stream(): { numbers: Stream<number>; calls: string[] } {
  const calls: string[] = [];
  const numbers = new Stream<number>(async () => {
    calls.push('open');
    return { leave: () => calls.push('leave'), close: () => calls.push('close') };
  });
  return { numbers, calls };
}

async function collect(numbers: Stream<number>, most = Number.POSITIVE_INFINITY): Promise<number[]> {
  const seen: number[] = [];
  for await (const value of numbers) {
    seen.push(value);
    if (seen.length === most) break;
  }
  return seen;
}

describe('a stream', () => {
  it('opens with the first read and gives values in order, before and after they are asked for', async () => {
    const { numbers, calls } = stream();
    await Promise.resolve();
    expect(calls).toEqual([]);
    numbers.push(1);
    numbers.push(2);
    expect(await numbers.next()).toEqual({ value: 1, done: false });
    const reading = collect(numbers);
    await new Promise(setImmediate);
    numbers.push(3);
    numbers.end();
    expect(await reading).toEqual([2, 3]);
    expect(calls).toEqual(['open', 'close']);
    expect(await numbers.next()).toEqual({ value: undefined, done: true });
  });

  it('tells the producer when the reader leaves, and takes no more', async () => {
    const { numbers, calls } = stream();
    const reading = collect(numbers, 1);
    await new Promise(setImmediate);
    numbers.push(1);
    expect(await reading).toEqual([1]);
    numbers.push(2);
    numbers.fail(new Error('late'));
    expect(await collect(numbers)).toEqual([]);
    expect(calls).toEqual(['open', 'leave', 'close']);
  });

  it('tells the producer that the reader left while it was opening', async () => {
    const { numbers, calls } = stream();
    const first = numbers.next();
    await numbers.return();
    expect(await first).toEqual({ value: undefined, done: true });
    await new Promise(setImmediate);
    expect(calls).toEqual(['open', 'leave', 'close']);
  });

  it('never opens when the reader leaves first', async () => {
    const { numbers, calls } = stream();
    await numbers.return();
    expect(await collect(numbers)).toEqual([]);
    expect(calls).toEqual([]);
  });

  it('throws its failure once, after the values before it', async () => {
    const { numbers } = stream();
    const reading = numbers.next();
    await new Promise(setImmediate);
    numbers.push(1);
    numbers.push(2);
    numbers.fail(new Error('broken'));
    expect(await reading).toEqual({ value: 1, done: false });
    expect(await numbers.next()).toEqual({ value: 2, done: false });
    expect(await rejection(numbers.next())).toMatchObject({ message: 'broken' });
    expect(await numbers.next()).toEqual({ value: undefined, done: true });
  });

  it('throws what opening threw', async () => {
    const numbers = new Stream<number>(() => Promise.reject(new Error('closed')));
    expect(await rejection(collect(numbers))).toMatchObject({ message: 'closed' });
  });
});
