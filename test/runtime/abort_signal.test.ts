import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { whenAborted } from '../../lib/runtime/abort_signal.js';

it('serves any number of calls with one listener of a signal, and leaves none behind', () => {
  const controller = new AbortController();
  const { signal } = controller;
  const called: number[] = [];
  const listeners = (): number => getEventListeners(signal, 'abort').length;
  const letGo = Array.from({ length: 30 }, (_, i) => whenAborted(signal, () => called.push(i)));
  expect(listeners()).toBe(1);
  for (const end of letGo) end();
  expect(listeners()).toBe(0);
  const [first] = [1, 2, 3].map((i) => whenAborted(signal, () => called.push(i)));
  // What has let go before stays without effect.
  for (const end of letGo) end();
  first?.();
  first?.();
  controller.abort();
  expect(called).toEqual([2, 3]);
  expect(listeners()).toBe(0);
  first?.();
});
