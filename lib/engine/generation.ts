import type { BurstResult } from '../runtime/program.js';
import { nonFinite } from './non_finite.js';
import { type DrawnToken, type FinishReason, type GenerationRequest, lengthOf } from './request.js';
import { requestState } from './sampling.js';
import type { StepBatch } from './step_batch.js';

/** Hands tokens of a burst to their requests, whose text and end they decide. `later`: other parts of the burst came before. */
export function collectDrawn(batch: StepBatch, result: BurstResult, later: boolean): void {
  batch.rows.forEach(({ share }, row) => {
    const request = share.sequence as GenerationRequest;
    // What follows a stop string in a burst was never asked for.
    if (request.finished) return;
    const drawn: DrawnToken[] = [];
    let reason: FinishReason | undefined;
    let broken = false;
    for (let step = 0; step < result.steps && reason === undefined; step++) {
      const outputs = result.outputs[step] as Record<string, Int32Array | Float32Array>;
      const token = outputs.token?.[row] as number;
      if (token < 0) break;
      // Every step after the first has put the token before it into the cache.
      if (later || step > 0) request.computed++;
      const logprob = outputs.logprob?.[row] as number;
      // -infinity where not one logit is a number: then nothing was drawn.
      broken = !Number.isFinite(logprob);
      if (broken) break;
      request.tokens.push(token);
      drawn.push({
        token,
        logprob,
        top: topTokens(outputs, row, batch.extents.tops as number, request.sampling.topLogprobs),
      });
      const state = outputs.state?.[row];
      if (state !== requestState.running) reason = state === requestState.stopped ? 'stop' : 'length';
    }
    deliver(request, drawn, reason);
    // Unless a stop string ended it before.
    if (broken && !request.finished) {
      request.finished = true;
      request.fail(nonFinite(request, request.tokens.length));
    }
  });
}

/** Ends a request from outside: aborted, with whatever text was still held back. */
export function finishGeneration(request: GenerationRequest, reason: FinishReason): void {
  request.finished = true;
  request.deliver({ tokens: [], text: '', finishReason: reason });
}

const noTokens: readonly never[] = Object.freeze([]);

function topTokens(
  outputs: Record<string, Int32Array | Float32Array>,
  row: number,
  width: number,
  wanted: number,
): readonly { token: number; logprob: number }[] {
  const { topTokens: tokens, topLogprobs: logprobs } = outputs;
  if (wanted === 0 || tokens === undefined || logprobs === undefined) return noTokens;
  return Array.from({ length: wanted }, (_, i) => ({
    token: tokens[row * width + i] as number,
    logprob: logprobs[row * width + i] as number,
  })).filter((t) => t.token >= 0);
}

function deliver(request: GenerationRequest, drawn: readonly DrawnToken[], ended: FinishReason | undefined): void {
  const { decoder, stopStrings } = request;
  const kept: DrawnToken[] = [];
  let text = '';
  let reason = ended;
  for (const item of drawn) {
    kept.push(item);
    // The token that stops a text is not part of the text.
    const closing = ended === 'stop' && item === drawn.at(-1);
    if (decoder === undefined || closing) continue;
    const piece = decoder.push(item.token);
    if (stopStrings === undefined) {
      text += piece;
      continue;
    }
    const matched = stopStrings.push(piece);
    text += matched.text;
    if (!matched.stopped) continue;
    reason = 'stop';
    request.tokens.length -= drawn.length - kept.length;
    request.computed = Math.min(request.computed, lengthOf(request));
    request.finished = true;
    request.deliver({ tokens: kept, text, finishReason: reason });
    return;
  }
  if (reason !== undefined) {
    const rest = decoder?.flush() ?? '';
    if (stopStrings === undefined) text += rest;
    else {
      const matched = stopStrings.push(rest);
      text += matched.text;
      if (matched.stopped) reason = 'stop';
      else text += stopStrings.flush();
    }
    request.finished = true;
  }
  if (kept.length > 0 || reason !== undefined) request.deliver({ tokens: kept, text, finishReason: reason });
}
