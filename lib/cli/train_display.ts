// What people see of a training.
import type { DataEvent, EndEvent, EvaluationEvent, PlanEvent, StepEvent, TrainEvent } from '../train/events.js';
import type { LoadingProgress } from '../train/train.js';
import { printable } from './display_width.js';
import { formatAmount, formatDuration, ProgressBar } from './progress.js';
import type { Terminal } from './terminal.js';

const shownBadLines = 20;
// Without a terminal there is no bar: a line now and then says that it goes on.
const signsOfLife = 20;

/** Writes events for people: lines on standard output, a bar on standard error if that is a terminal. */
export class TrainDisplay implements Disposable {
  readonly #out: Terminal;
  readonly #err: Terminal;
  #bar: ProgressBar | undefined;
  #barOf = '';
  #badLines = 0;
  #many = false;
  readonly #now: (() => number) | undefined;

  /** @param now clock in milliseconds */
  constructor(out: Terminal = process.stdout, err: Terminal = process.stderr, now?: () => number) {
    this.#out = out;
    this.#err = err;
    this.#now = now;
  }

  /** Files are being read. */
  loading({ what, adapter, bytes, totalBytes }: LoadingProgress): void {
    const label = what === 'weights' ? 'loading the base' : `reading data of ${adapter}`;
    this.#show(label, 'bytes', totalBytes).update(bytes, totalBytes);
  }

  show(event: TrainEvent): void {
    switch (event.type) {
      case 'badLine':
        this.#badLines++;
        if (this.#badLines <= shownBadLines) this.#say(`${event.file}:${event.line}: ${event.reason} (skipped)`, this.#err);
        break;
      case 'data':
        this.#data(event);
        break;
      case 'resume':
        this.#say(event.file === null ? 'no checkpoint yet: beginning' : `going on after step ${event.step} (${event.file})`);
        break;
      case 'plan':
        this.#plan(event);
        break;
      case 'step':
        this.#step(event);
        break;
      case 'evaluation':
        this.#say(`step ${event.step}: held-out ${evaluationText(event, this.#many)}`);
        break;
      case 'checkpoint':
        break;
      case 'sample':
        this.#end();
        this.#say(`── ${event.adapter ?? 'base'} ──\n${event.prompt}│${event.text}\n`);
        break;
      case 'end':
        this.#summary(event);
    }
  }

  [Symbol.dispose](): void {
    this.#end();
  }

  #data(event: DataEvent): void {
    if (event.badLines > shownBadLines) this.#say(`${event.adapter}: ${event.badLines} bad lines were skipped`, this.#err);
    const parts = [
      `${event.adapter}: ${formatAmount(event.examples)} examples, ${formatAmount(event.tokens, 'tokens')}, ${formatAmount(event.targets)} of them learned`,
    ];
    if (event.evaluationExamples > 0) parts.push(`held out: ${formatAmount(event.evaluationExamples)} examples`);
    if (event.truncated > 0) parts.push(`${formatAmount(event.truncated)} cut off`);
    this.#say(parts.join('; '));
  }

  #summary(event: EndEvent): void {
    this.#end();
    const { step, seconds, tokensPerSecond, peakBytes, plannedBytes, processPeakBytes, adapters, report } = event;
    const memory = `memory ${formatAmount(peakBytes, 'bytes')} (planned ${formatAmount(plannedBytes, 'bytes')}, process ${formatAmount(processPeakBytes, 'bytes')})`;
    this.#say(`${formatAmount(step, 'steps')} in ${formatDuration(seconds)}, ${formatAmount(tokensPerSecond, 'tokens/s')}; ${memory}`);
    for (const [name, { folder, loss, perplexity }] of Object.entries(adapters)) {
      const facts = [
        ...(loss === null ? [] : [`loss ${loss.toFixed(4)}`]),
        ...(perplexity === null ? [] : [`held-out perplexity ${perplexity.toFixed(3)}`]),
      ];
      this.#say(`${name}: ${facts.join(', ')} → ${folder}`);
    }
    this.#say(`report: ${report}`);
  }

  #plan({ model, device, planned, adapters, totalSteps }: PlanEvent): void {
    this.#end();
    this.#many = Object.keys(adapters).length > 1;
    const { total, ...parts } = planned;
    const shares = Object.entries(parts).map(([name, size]) => `${name} ${formatAmount(size, 'bytes')}`);
    this.#say(`memory planned${device === 'cpu' ? '' : ` on ${device}`}: ${formatAmount(total, 'bytes')} (${shares.join(', ')})`);
    for (const [name, { parameters, steps, stepsPerEpoch }] of Object.entries(adapters))
      this.#say(
        `${name}: ${formatAmount(parameters)} parameters over ${model}, ${formatAmount(steps)} steps (${formatAmount(steps / stepsPerEpoch)} epochs)`,
      );
    this.#show('training', 'steps', totalSteps);
  }

  #step(event: StepEvent): void {
    const { step, totalSteps, tokensPerSecond, secondsLeft, peakBytes, adapters } = event;
    const losses = Object.entries(adapters).map(([name, { loss }]) => `${this.#many ? name : 'loss'} ${loss.toFixed(3)}`);
    const rate = formatAmount(tokensPerSecond, 'tokens/s');
    const left = step < totalSteps ? `  ${formatDuration(secondsLeft)} left` : '';
    const status = `${step} of ${totalSteps}  ${losses.join('  ')}  ${rate}${left}  peak ${formatAmount(peakBytes, 'bytes')}`;
    if (this.#err.isTTY === true) {
      const bar = this.#show('training', 'steps', totalSteps);
      bar.status = status;
      bar.update(step, totalSteps);
    } else if (
      step === totalSteps ||
      step === 1 ||
      Math.floor((step * signsOfLife) / totalSteps) > Math.floor(((step - 1) * signsOfLife) / totalSteps)
    )
      this.#err.write(`training  ${printable(status)}\n`);
  }

  #show(label: string, unit: string, total: number): ProgressBar {
    if (this.#bar === undefined || this.#barOf !== label) {
      this.#end();
      this.#bar = new ProgressBar({ label, unit, total, stream: this.#err, now: this.#now });
      this.#barOf = label;
    }
    return this.#bar;
  }

  #say(text: string, to: Terminal = this.#out): void {
    const line = `${to.isTTY === true ? printable(text) : text}\n`;
    if (this.#bar === undefined) to.write(line);
    else this.#bar.around(() => to.write(line));
  }

  #end(): void {
    this.#bar?.finish();
    this.#bar = undefined;
  }
}

function evaluationText({ adapters }: EvaluationEvent, many: boolean): string {
  return Object.entries(adapters)
    .map(([name, { loss, perplexity }]) => `${many ? `${name} ` : ''}loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(3)}`)
    .join('; ');
}
