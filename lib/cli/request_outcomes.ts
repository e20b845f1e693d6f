import { throwIfInterrupted } from './interrupt.js';
import { errorJson, printJson, sayError } from './output.js';
import { ProgressBar } from './progress.js';
import type { RequestLine } from './request_lines.js';

/** How the answers of many requests are made and shown. */
export interface OutcomeOptions<Request, Answer> {
  readonly label: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
  run(request: Request): Promise<Answer>;
  show(line: RequestLine<Request>, answer: Answer): void;
}

/** Runs all requests at once and shows their answers in the order of the file. A bad request fails alone: the others are worth having. */
export async function runRequests<Request, Answer>(
  lines: readonly RequestLine<Request>[],
  options: OutcomeOptions<Request, Answer>,
): Promise<void> {
  const bar = new ProgressBar({ label: options.label, total: lines.length });
  const outcomes = lines.map(async ({ request, problem }): Promise<{ answer: Answer } | { error: unknown }> => {
    try {
      if (problem !== undefined) throw problem;
      return { answer: await options.run(request) };
    } catch (error) {
      return { error };
    } finally {
      bar.advance();
    }
  });
  try {
    for (const [i, line] of lines.entries()) {
      const outcome = await (outcomes[i] as (typeof outcomes)[number]);
      if ('error' in outcome) throwIfInterrupted(options.signal);
      bar.around(() => {
        if ('answer' in outcome) return options.show(line, outcome.answer);
        process.exitCode = 1;
        if (options.json) printJson({ id: line.id, adapter: line.adapter, error: errorJson(outcome.error, line.where) });
        sayError(outcome.error, line.where);
      });
    }
  } finally {
    bar.finish();
  }
}
