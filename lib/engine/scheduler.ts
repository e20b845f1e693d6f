import { InternalError, PoolExhaustedError } from '../errors.js';
import { blockTokens } from '../ops/index.js';
import { binding, type NativeRunControl } from '../runtime/binding.js';
import { type DeviceTensor, writeBytes } from '../runtime/device_tensor.js';
import type { TensorData } from '../runtime/dtype.js';
import type { BurstResult, Program } from '../runtime/program.js';
import type { AdapterRegistry } from './adapter_registry.js';
import { padDecodeStep } from './decode_buckets.js';
import { collectDrawn, finishGeneration } from './generation.js';
import type { ModelState, StepLimits } from './model_programs.js';
import type { PagePool } from './page_pool.js';
import type { PrefixCache } from './prefix_cache.js';
import { type GenerationRequest, lengthOf, type ScoreRequest, type Sequence } from './request.js';
import { addSampling, addTargets, buildStep, type Share, type StepBatch } from './step_batch.js';

/** What the scheduler works with. */
export interface Machinery {
  readonly limits: StepLimits;
  readonly state: ModelState;
  readonly pool: PagePool;
  readonly prefixes: PrefixCache;
  readonly adapters: AdapterRegistry;
  /** Whether decode steps have few sizes rather than exact ones. */
  readonly padsDecodeSteps: boolean;
  /** Compiled on first use. */
  generation(): Promise<Program>;
  scoring(): Promise<Program>;
}

/** Counters since the model was loaded. */
export interface SchedulerStats {
  /** Steps of the model, bursts counted by their steps. */
  steps: number;
  /** Tokens that went through the model, prompts included. */
  tokens: number;
  /** Most requests that shared a step. */
  maxRequestsInStep: number;
  /** Most different adapters that shared a step. */
  maxAdaptersInStep: number;
  /** Requests whose pages were taken for others, to be computed again. */
  preemptions: number;
  /** Prompt tokens found in the prefix cache. */
  cachedTokens: number;
  /** Time inside kernels. */
  kernelNanoseconds: number;
}

// Tokens of a burst come to JavaScript about this often while it goes on.
const partMilliseconds = 100;
const maxBurstSteps = 256;
// Waiting requests that may pass others whose adapters are still on the way to the device.
const lookAhead = 64;

/**
 * Continuous batching: every step takes one token of each running request and fills up with pieces of prompts. While only
 * single tokens are wanted, many steps run in one burst of native code, which hands tokens over without waiting for JavaScript;
 * an arrival, an abort or the end of a request ends it at its next step.
 */
export class Scheduler {
  readonly stats: SchedulerStats = {
    steps: 0,
    tokens: 0,
    maxRequestsInStep: 0,
    maxAdaptersInStep: 0,
    preemptions: 0,
    cachedTokens: 0,
    kernelNanoseconds: 0,
  };
  private readonly waiting: Sequence[] = [];
  private readonly running: Sequence[] = [];
  private readonly freeSlots: number[] = [];
  private readonly control: NativeRunControl = new (binding().RunControl)();
  private active: Promise<void> | undefined;
  private held = false;
  private closed: Error | undefined;
  private scoreTurn = false;

  constructor(private readonly machinery: Machinery) {
    machinery.adapters.onArrival = () => this.poke();
    machinery.adapters.onWanted = () => this.poke();
    machinery.adapters.blockers = (pages) => this.blockersOf(pages);
    for (let slot = machinery.limits.maxRequests - 1; slot >= 0; slot--) this.freeSlots.push(slot);
  }

  get waitingRequests(): number {
    return this.waiting.length;
  }

  get runningRequests(): number {
    // One that has its last token leaves the list when the burst ends.
    return this.running.filter((sequence) => sequence.kind === 'score' || !sequence.finished).length;
  }

  /** Adds a request. Throws PoolExhaustedError when it could never run, and what `close` was given after that. */
  submit(sequence: Sequence): void {
    if (this.closed !== undefined) throw this.closed;
    this.machinery.pool.assertPossible(mostPages(sequence), `a request of up to ${mostTokens(sequence)} tokens`);
    // Long before its turn, so that its adapters are there when it comes.
    this.machinery.adapters.bring(sequence.adapters, false);
    this.waiting.push(sequence);
    this.poke();
  }

  /** Looks at the requests again soon: one was aborted or added. */
  poke(): void {
    this.control.interrupt();
    if (!this.held) this.active ??= this.loop();
  }

  /** Does something that no step may see half done: requests that arrive meanwhile begin after it. Nothing may run or wait when it is called. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.busy) throw new InternalError('the scheduler was to be alone while requests run');
    this.held = true;
    try {
      // The burst that gave the last tokens may not have ended yet.
      await this.idle();
      return await work();
    } finally {
      this.held = false;
      if (this.waiting.length > 0 || this.machinery.adapters.wanted) this.poke();
    }
  }

  /** Whether a request lacks something of its answer, or `alone` is under way. */
  get busy(): boolean {
    return this.held || this.waitingRequests > 0 || this.runningRequests > 0;
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.active !== undefined) await this.active;
  }

  /** Ends every request with `error`. */
  failAll(error: unknown): void {
    for (const sequence of this.waiting.splice(0)) {
      this.machinery.adapters.release(sequence.adapters);
      sequence.fail(error);
    }
    for (const sequence of [...this.running]) this.end(sequence, () => sequence.fail(error));
  }

  /** Ends every request with `error`, those under way included, and takes no more. */
  close(error: Error): void {
    this.closed = error;
    this.control.interrupt();
    this.machinery.adapters.refuseAll(error);
    this.failAll(error);
  }

  private async loop(): Promise<void> {
    // Requests that arrive in one turn of the event loop share their first step.
    await Promise.resolve();
    while ((this.waiting.length > 0 && !this.held) || this.running.length > 0 || this.machinery.adapters.wanted) {
      this.control.reset();
      try {
        this.dropAborted();
        this.placeAdapters();
        this.admit();
        if (this.running.length > 0) await this.step();
        else await this.waitForAdapters();
      } catch (error) {
        this.failAll(error);
      }
    }
    // In the same turn as the last look at the lists: a request that arrives later starts a new loop.
    this.active = undefined;
  }

  private dropAborted(): void {
    for (let i = this.waiting.length - 1; i >= 0; i--) {
      const sequence = this.waiting[i] as Sequence;
      if (!sequence.aborted) continue;
      this.waiting.splice(i, 1);
      this.machinery.adapters.release(sequence.adapters);
      this.conclude(sequence);
    }
    for (const sequence of [...this.running]) if (sequence.aborted) this.end(sequence, () => this.conclude(sequence));
  }

  private conclude(sequence: Sequence): void {
    if (sequence.kind === 'generate') finishGeneration(sequence, 'abort');
    else sequence.abort();
  }

  // Adapters that are being loaded come before running requests, whose pages are taken where that makes enough room.
  private placeAdapters(): void {
    const { pool, adapters } = this.machinery;
    const hasEnded = (request: object): boolean =>
      !this.running.includes(request as Sequence) && !this.waiting.includes(request as Sequence);
    adapters.placeWaiting(hasEnded, (pages) => {
      const youngest = this.running.at(-1);
      if (youngest === undefined || pool.pages - adapters.heldPages < pages) return false;
      this.preempt(youngest);
      return true;
    });
  }

  private blockersOf(pages: number): Set<Sequence> {
    const { pool, adapters } = this.machinery;
    const now = pool.pages - adapters.heldPages;
    const fits = (sequence: Sequence, left: number): boolean => mostPages(sequence) <= left;
    return new Set([...this.running, ...this.waiting].filter((sequence) => fits(sequence, now) && !fits(sequence, now - pages)));
  }

  // Nothing runs, and what waits lacks adapters or the room of one that is replaced: until one arrives.
  private async waitForAdapters(): Promise<void> {
    const { adapters } = this.machinery;
    const [first] = this.waiting;
    if (first === undefined && !adapters.wanted) return;
    const arrival = adapters.nextArrival();
    if (arrival !== undefined) return arrival;
    if (first === undefined) {
      // What held it back may have ended in this turn.
      this.placeAdapters();
      if (!adapters.arriving) adapters.refuseFirst(this.poolExhausted());
      return;
    }
    this.waiting.shift();
    this.machinery.adapters.release(first.adapters);
    first.fail(this.poolExhausted());
  }

  // First come, first served: a request enters when its adapters are there, and pages for its whole text so far and a little beyond.
  // While the adapters of one are on the way, others may pass it; where it lacks room nobody does.
  private admit(): void {
    const { pool, prefixes, limits, state, adapters } = this.machinery;
    for (let at = 0; at < Math.min(this.waiting.length, lookAhead) && this.running.length < limits.maxRequests; ) {
      const next = this.waiting[at] as Sequence;
      const adaptersAre = adapters.bring(next.adapters, at === 0);
      if (adaptersAre === 'full' && at === 0) return;
      if (adaptersAre !== 'ready') {
        at++;
        continue;
      }
      const cached = next.kind === 'generate' ? prefixes.take(next.tokens, next.adapterKey, next.virtualTokens) : { pages: [], keys: [] };
      const needed = Math.ceil((lengthOf(next) + 1) / blockTokens) - cached.pages.length;
      while (needed + this.running.length > pool.available && adapters.makeRoom());
      if (needed + this.running.length > pool.available && (this.running.length > 0 || adapters.arriving)) {
        for (const page of cached.pages) prefixes.release(page);
        return;
      }
      this.waiting.splice(at, 1);
      this.running.push(next);
      adapters.enter(next.adapters);
      next.pages = cached.pages;
      next.computed = cached.pages.length * blockTokens;
      this.stats.cachedTokens += next.computed;
      if (next.kind === 'generate') {
        next.pageKeys = cached.keys;
        next.slot = this.freeSlots.pop() as number;
        const capacity = state.history.dims[1] as number;
        this.write(state.history, next.slot * capacity * 4, Int32Array.from(next.tokens));
        this.write(state.historyState, next.slot * 8, Int32Array.of(next.promptLength, next.tokens.length));
      }
      this.installPrefix(next);
    }
  }

  // Keys and values that an adapter brings are written into pages of the request, unless the prefix cache had them.
  private installPrefix(sequence: Sequence): void {
    const { pool } = this.machinery;
    const { prefixPages, virtualTokens, pages } = sequence;
    if (prefixPages === undefined || sequence.computed >= virtualTokens) return;
    for (const content of prefixPages.slice(pages.length)) {
      const page = this.takePage();
      if (page === undefined) {
        this.end(sequence, () => sequence.fail(this.poolExhausted()));
        return;
      }
      pages.push(page);
      this.write(pool.memory, page * pool.pageBytes, content);
    }
    sequence.computed = virtualTokens;
  }

  // Before the step that reads it. Only a lost device refuses, and that refuses the step too.
  private write(tensor: DeviceTensor, at: number, data: TensorData): void {
    writeBytes(tensor, at, data).catch(() => {});
  }

  private poolExhausted(): PoolExhaustedError {
    return new PoolExhaustedError(
      `the page pool is exhausted: ${this.machinery.pool.pages} pages, the rest held by adapters. Unload some, or give loadModel a larger poolBytes`,
    );
  }

  private async step(): Promise<void> {
    const generating = this.running.filter((s): s is GenerationRequest => s.kind === 'generate');
    const scoring = this.running.filter((s): s is ScoreRequest => s.kind === 'score');
    this.scoreTurn = generating.length === 0 || (scoring.length > 0 && !this.scoreTurn);
    if (this.scoreTurn && scoring.length > 0) await this.scoreStep(scoring);
    else if (generating.length > 0) await this.generationStep(generating);
  }

  private async generationStep(requests: GenerationRequest[]): Promise<void> {
    const shares = this.share(requests, this.machinery.limits.maxStepTokens) as (Share & { sequence: GenerationRequest })[];
    if (shares.length === 0) return;
    // A burst begins when everybody has a first token, which is handed over at once.
    const decoding = shares.every(({ sequence: s }) => s.computed === lengthOf(s) - 1 && s.tokens.length > s.promptLength);
    const steps = decoding ? this.reserveAhead(shares.map((s) => s.sequence)) : 1;
    const exact = buildStep(shares, Number.POSITIVE_INFINITY);
    addSampling(exact);
    const batch = this.machinery.padsDecodeSteps ? padDecodeStep(exact, this.machinery.limits) : exact;
    let began = false;
    await this.run(await this.machinery.generation(), batch, steps, (part) => {
      if (!began) for (const share of shares) share.sequence.computed += share.count;
      // The first draw of a burst follows the share itself; each later one has put the token before it into the cache.
      collectDrawn(batch, part, began);
      began = true;
      if (shares.some(({ sequence }) => sequence.finished)) this.control.interrupt();
    });
    if (this.closed !== undefined) return;
    for (const { sequence } of shares) {
      this.notePages(sequence);
      if (sequence.finished) this.end(sequence, () => {});
      else this.trimPages(sequence);
    }
  }

  private async scoreStep(requests: ScoreRequest[]): Promise<void> {
    const shares = this.share(requests, this.machinery.limits.maxScoreTokens);
    if (shares.length === 0) return;
    const batch = buildStep(shares, Number.POSITIVE_INFINITY);
    addTargets(batch);
    await this.run(await this.machinery.scoring(), batch, 1, ({ outputs }) => {
      const logprobs = outputs[0]?.logprob as Float32Array;
      batch.rows.forEach(({ share, position }, row) => {
        const { logprobs: into, virtualTokens } = share.sequence as ScoreRequest;
        into[position - virtualTokens + 1] = logprobs[row] as number;
      });
    });
    if (this.closed !== undefined) return;
    for (const { sequence, count } of shares) {
      sequence.computed += count;
      if (sequence.computed === lengthOf(sequence)) this.end(sequence, () => (sequence as ScoreRequest).finish());
    }
  }

  // `take` gets no part after `close`.
  private async run(program: Program, batch: StepBatch, steps: number, take: (part: BurstResult) => void): Promise<void> {
    const inputs: Record<string, TensorData> = {};
    for (const { name } of program.description.inputs) inputs[name] = batch.inputs[name] as TensorData;
    const { stats } = this;
    stats.maxRequestsInStep = Math.max(stats.maxRequestsInStep, batch.requests);
    stats.maxAdaptersInStep = Math.max(stats.maxAdaptersInStep, batch.adapters);
    await program.runInParts(inputs, { extents: batch.extents, steps, control: this.control }, partMilliseconds, (part) => {
      stats.steps += part.steps;
      stats.tokens += batch.tokens * part.steps;
      stats.kernelNanoseconds += part.nanoseconds;
      if (this.closed === undefined) take(part);
    });
  }

  // Single tokens first, so that running requests never wait for prompts; then prompts in order of arrival.
  private share(sequences: readonly Sequence[], budget: number): Share[] {
    const shares: Share[] = [];
    let left = budget;
    const pendingOf = (s: Sequence): number => lengthOf(s) - s.computed;
    for (const single of [true, false])
      for (const sequence of sequences) {
        const pending = pendingOf(sequence);
        if ((pending === 1) !== single || left === 0 || !this.running.includes(sequence)) continue;
        const count = Math.min(pending, left);
        if (!this.reserve(sequence, sequence.computed + count, shares)) continue;
        shares.push({ sequence, count });
        left -= count;
      }
    // A request may have lost its pages to one that came before it.
    return shares.filter(({ sequence }) => this.running.includes(sequence));
  }

  // Adapters that nobody holds go before a running request loses anything.
  private takePage(): number | undefined {
    const { pool, adapters } = this.machinery;
    for (;;) {
      const page = pool.allocate();
      if (page !== undefined || !adapters.makeRoom()) return page;
    }
  }

  // Pages for `length` tokens; takes them from the youngest request when none is free.
  private reserve(sequence: Sequence, length: number, shares: readonly Share[]): boolean {
    while (sequence.pages.length * blockTokens < length) {
      const page = this.takePage();
      if (page !== undefined) {
        sequence.pages.push(page);
        continue;
      }
      const victim = this.running.at(-1) as Sequence;
      if (victim !== sequence) {
        this.preempt(victim);
        continue;
      }
      if (this.running.length > 1 || shares.length > 0 || this.machinery.adapters.arriving) this.preempt(sequence);
      else this.end(sequence, () => sequence.fail(this.poolExhausted()));
      return false;
    }
    return true;
  }

  // Its text stays; keys and values are computed again later, to the same bits.
  private preempt(sequence: Sequence): void {
    this.stats.preemptions++;
    this.leave(sequence);
    sequence.computed = 0;
    this.waiting.unshift(sequence);
  }

  // How many steps a burst may take: as many as all may need, with pages for them.
  private reserveAhead(requests: readonly GenerationRequest[]): number {
    const { pool, limits } = this.machinery;
    if (this.waiting.length > 0 && this.running.length < limits.maxRequests && pool.available > this.running.length) return 1;
    const remaining = Math.max(...requests.map((r) => r.maxLength - r.tokens.length));
    let steps = Math.max(1, Math.min(maxBurstSteps, remaining));
    const reach = (r: GenerationRequest, n: number): number => Math.min(r.computed + n, r.virtualTokens + r.maxLength);
    const missing = (n: number): number =>
      requests.reduce((sum, r) => sum + Math.max(0, Math.ceil(reach(r, n) / blockTokens) - r.pages.length), 0);
    while (steps > 1 && missing(steps) > pool.available) steps = Math.floor(steps / 2);
    for (const request of requests)
      while (request.pages.length * blockTokens < reach(request, steps)) request.pages.push(pool.allocate() as number);
    return steps;
  }

  // Gives back what a burst that ended early had ahead.
  private trimPages(request: GenerationRequest): void {
    const needed = Math.ceil((request.computed + 1) / blockTokens);
    for (const page of request.pages.splice(needed)) this.machinery.prefixes.release(page);
  }

  private notePages(request: GenerationRequest): void {
    while ((request.pageKeys.length + 1) * blockTokens <= request.computed) {
      const page = request.pages[request.pageKeys.length] as number;
      const { tokens, adapterKey, pageKeys, virtualTokens } = request;
      pageKeys.push(this.machinery.prefixes.note(page, tokens, adapterKey, pageKeys, virtualTokens));
    }
  }

  private end(sequence: Sequence, tell: () => void): void {
    this.leave(sequence);
    this.machinery.adapters.release(sequence.adapters);
    tell();
  }

  private leave(sequence: Sequence): void {
    this.running.splice(this.running.indexOf(sequence), 1);
    this.machinery.adapters.leave(sequence.adapters);
    for (const page of sequence.pages) this.machinery.prefixes.release(page);
    sequence.pages = [];
    if (sequence.kind === 'score') return;
    sequence.pageKeys = [];
    this.freeSlots.push(sequence.slot);
    sequence.slot = -1;
  }
}

const mostTokens = (sequence: Sequence): number =>
  sequence.virtualTokens + (sequence.kind === 'generate' ? sequence.maxLength : sequence.tokens.length);

const mostPages = (sequence: Sequence): number => Math.ceil(mostTokens(sequence) / blockTokens);
