import type { Model } from '../engine/model.js';

/** What the last line of `--json` output says. */
export function statsOf(model: Model): Record<string, number> {
  const { steps, tokens, maxRequestsInStep, maxAdaptersInStep, preemptions, cachedTokens } = model.stats();
  return { steps, tokens, maxRequestsInStep, maxAdaptersInStep, preemptions, cachedTokens };
}
