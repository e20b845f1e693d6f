// PEFT as another process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** A Python that has torch, transformers and peft. */
export const peftPython = process.env.HEDDLE_PEFT_PYTHON;

/** A base, an adapter over it or none, and texts to score. */
export interface PeftRequest {
  readonly base: string;
  readonly adapter: string | null;
  readonly documents: readonly (readonly number[])[];
}

/** Log-probabilities of every token but the first of each document, or what PEFT says instead. */
export interface PeftAnswer {
  readonly logprobs?: readonly number[];
  readonly error?: string;
}

/** What PEFT makes of each. */
export async function readByPeft(requests: readonly PeftRequest[]): Promise<readonly PeftAnswer[]> {
  const script = join(import.meta.dirname, 'peft_reads.py');
  const child = spawn(peftPython as string, [script], { stdio: ['pipe', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  child.stdin.end(JSON.stringify(requests));
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = await closed;
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${errors.slice(-2000)}`);
  return JSON.parse(out) as PeftAnswer[];
}
