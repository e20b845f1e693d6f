// Untrusted files (tokenizers, chat templates) are read and run in a thread of their own, with a time limit:
// whatever they hold, the event loop stays free and a hang ends with the thread.
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { DisposedError, TokenizerError } from '../errors.js';
import { abortErrorOf, throwIfAborted, whenAborted } from '../runtime/abort_signal.js';
import type { Answer, ThreadData } from './thread_entry.js';

/** What a ThreadHost needs to know. */
export interface ThreadHostOptions {
  /** Stem of the module that calls `serve`, next to this file. */
  entry: string;
  /** Subject of error messages, such as `tokenizer of /models/llama`. */
  name: string;
  /** Given to every thread that is started. */
  setup: unknown;
  setupMilliseconds: number;
}

interface Pending {
  id: number;
  job: unknown;
  milliseconds: number;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

interface Running {
  worker: Worker;
  port: MessagePort;
  answered: Int32Array;
  ready: boolean;
  began: number;
}

const setupId = 0;

/** One thread at a time, started when first needed and again after a job that took too long. */
export class ThreadHost {
  readonly #options: ThreadHostOptions;
  #thread: Running | undefined;
  #current: Pending | undefined;
  #queue: Pending[] = [];
  #timer: NodeJS.Timeout | undefined;
  #nextId = 1;
  #startMilliseconds = 0;
  #disposed = false;
  /** The calling thread waits for a job: nothing else is started. */
  #waiting = false;
  #onReady: { resolve: (value: unknown) => void; reject: (error: Error) => void } | undefined;
  #setupError: TokenizerError | undefined;

  constructor(options: ThreadHostOptions) {
    this.#options = options;
  }

  /** Starts the thread; resolves with what its setup returned. */
  start(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#onReady = { resolve, reject };
      const thread = this.#spawn();
      thread.worker.ref();
      this.#armTimer(this.#options.setupMilliseconds);
    });
  }

  /** Runs a job; jobs run in the order they were given. */
  run(job: unknown, milliseconds: number, signal?: AbortSignal): Promise<unknown> {
    if (this.#disposed) return Promise.reject(this.#disposedError());
    return new Promise((resolve, reject) => {
      throwIfAborted(signal);
      const pending: Pending = { id: this.#nextId++, job, milliseconds, resolve, reject };
      if (signal !== undefined) this.#listen(pending, signal);
      this.#queue.push(pending);
      this.#advance();
    });
  }

  /** Runs a job while the calling thread waits. It goes before queued jobs. */
  runSync(job: unknown, milliseconds: number): unknown {
    if (this.#disposed) throw this.#disposedError();
    const thread = this.#thread ?? this.#spawn();
    const limit = milliseconds + (thread.ready ? 0 : this.#options.setupMilliseconds) + (this.#current?.milliseconds ?? 0);
    const id = this.#nextId++;
    thread.port.postMessage({ id, job });
    this.#waiting = true;
    try {
      return this.#wait(thread, id, performance.now() + limit, milliseconds);
    } finally {
      this.#waiting = false;
      this.#advance();
    }
  }

  #wait(thread: Running, id: number, end: number, milliseconds: number): unknown {
    for (;;) {
      const seen = Atomics.load(thread.answered, 0);
      for (let message = receiveMessageOnPort(thread.port); message !== undefined; message = receiveMessageOnPort(thread.port)) {
        const answer = message.message as Answer;
        if (answer.id === id) return this.#valueOf(answer);
        this.#receive(answer);
        if (this.#thread !== thread) throw this.#setupError ?? this.#tooLong(milliseconds);
      }
      const left = end - performance.now();
      if (left <= 0) {
        const error = this.#tooLong(milliseconds);
        this.#stop(error);
        throw error;
      }
      Atomics.wait(thread.answered, 0, seen, left);
    }
  }

  /** Stops the thread; waiting jobs are rejected. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const error = this.#disposedError();
    this.#stop(error);
    for (const pending of this.#queue.splice(0)) pending.reject(error);
  }

  #spawn(): Running {
    const { port1, port2 } = new MessageChannel();
    const answered = new Int32Array(new SharedArrayBuffer(4));
    const data: ThreadData = { port: port2, answered, setup: this.#options.setup };
    const worker = new Worker(entryUrl(this.#options.entry), {
      workerData: data,
      transferList: [port2],
      execArgv: [],
      name: `heddle ${this.#options.entry}`,
    });
    const thread: Running = { worker, port: port1, answered, ready: false, began: performance.now() };
    this.#thread = thread;
    port1.on('message', (answer: Answer) => this.#receive(answer));
    const died = (error?: Error): void => {
      if (this.#thread !== thread) return;
      this.#stop(
        new TokenizerError(
          `${this.#options.name}: its thread ended${error === undefined ? '' : `: ${error.message}`}`,
          {},
          { cause: error },
        ),
      );
      this.#advance();
    };
    worker.on('error', died);
    worker.on('exit', () => died());
    // An idle thread does not keep the process alive; a job in flight does.
    port1.unref();
    worker.unref();
    return thread;
  }

  #advance(): void {
    if (this.#current !== undefined || this.#onReady !== undefined || this.#waiting) return;
    const next = this.#queue.shift();
    if (next === undefined) return;
    const thread = this.#thread ?? this.#spawn();
    this.#current = next;
    thread.worker.ref();
    thread.port.ref();
    this.#armTimer(next.milliseconds + (thread.ready ? 0 : this.#options.setupMilliseconds));
    try {
      thread.port.postMessage({ id: next.id, job: next.job });
    } catch (error) {
      this.#settle((pending) =>
        pending.reject(new TokenizerError(`${this.#options.name}: ${(error as Error).message}`, {}, { cause: error })),
      );
    }
  }

  #armTimer(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#stop(this.#tooLong(milliseconds));
      this.#advance();
    }, milliseconds);
    this.#timer.unref();
  }

  #receive(answer: Answer): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    if (answer.id === setupId) {
      thread.ready = true;
      this.#startMilliseconds = performance.now() - thread.began;
      const waiting = this.#onReady;
      this.#onReady = undefined;
      if (answer.error !== undefined) {
        this.#setupError = this.#errorOf(answer.error);
        this.#stop(this.#setupError);
        waiting?.reject(this.#setupError);
        this.#advance();
        return;
      }
      if (waiting !== undefined) {
        clearTimeout(this.#timer);
        if (this.#current === undefined) thread.worker.unref();
        waiting.resolve(answer.value);
        this.#advance();
      }
    } else if (answer.id === this.#current?.id) {
      this.#settle((pending) => (answer.error === undefined ? pending.resolve(answer.value) : pending.reject(this.#errorOf(answer.error))));
    }
  }

  #settle(finish: (pending: Pending) => void): void {
    const pending = this.#current as Pending;
    this.#current = undefined;
    clearTimeout(this.#timer);
    this.#thread?.worker.unref();
    this.#thread?.port.unref();
    finish(pending);
    this.#advance();
  }

  /** Ends the thread and fails what it was doing. */
  #stop(error: Error): void {
    clearTimeout(this.#timer);
    const thread = this.#thread;
    this.#thread = undefined;
    thread?.port.close();
    void thread?.worker.terminate();
    const current = this.#current;
    this.#current = undefined;
    current?.reject(error);
    const waiting = this.#onReady;
    this.#onReady = undefined;
    waiting?.reject(error);
  }

  #listen(pending: Pending, signal: AbortSignal): void {
    const { resolve, reject } = pending;
    const letGo = whenAborted(signal, () => {
      reject(abortErrorOf(signal));
      const place = this.#queue.indexOf(pending);
      if (place >= 0) this.#queue.splice(place, 1);
      else if (pending === this.#current) this.#armTimer(this.#patience());
    });
    pending.resolve = (value) => {
      letGo();
      resolve(value);
    };
    pending.reject = (error) => {
      letGo();
      reject(error);
    };
  }

  /** What nobody waits for any more gets the time that a new thread would take to start: then the thread ends. */
  #patience(): number {
    return this.#thread?.ready === true ? this.#startMilliseconds : this.#options.setupMilliseconds;
  }

  #valueOf(answer: Answer): unknown {
    if (answer.error !== undefined) throw this.#errorOf(answer.error);
    return answer.value;
  }

  #errorOf({ message, details, expected }: NonNullable<Answer['error']>): TokenizerError {
    return new TokenizerError(`${this.#options.name}: ${message}`, expected ? details : { ...details, rule: 'library' });
  }

  #tooLong(milliseconds: number): TokenizerError {
    return new TokenizerError(`${this.#options.name}: stopped after ${Math.round(milliseconds)} ms`, { rule: 'time', milliseconds });
  }

  #disposedError(): DisposedError {
    return new DisposedError(`${this.#options.name} was disposed`);
  }
}

/** Threads run compiled modules; sources that a test runner loads use the last build. */
function entryUrl(stem: string): URL {
  const url = new URL(`./${stem}.js`, import.meta.url);
  return import.meta.url.endsWith('.ts') ? new URL(url.href.replace(/\/lib\/text\/(?=[^/]*$)/, '/dist/lib/text/')) : url;
}
