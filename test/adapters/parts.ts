import type { AdapterParts, SiteParts } from '../../lib/adapters/method.ts';

/** An adapter of these sites. */
export const partsOf = (...sites: SiteParts[]): AdapterParts => ({
  contentHash: '',
  summary: {} as AdapterParts['summary'],
  sites: new Map(sites.map((s) => [s.path, s])),
  virtualTokens: 0,
});
