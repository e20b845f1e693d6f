/** Who fills a stream, seen from the stream. */
export interface StreamSource {
  /** The reader left before the end. */
  leave(): void;
  /** No more is wanted or comes: called once, after `leave` too. */
  close(): void;
}

interface Reader<T> {
  resolve(result: IteratorResult<T, void>): void;
  reject(error: unknown): void;
}

/**
 * Hands values from whoever produces them to one `for await` loop; the producer never waits. Opened by the first `next()`. A class
 * rather than generators inside each other: a token costs one promise on its way out.
 */
export class Stream<T> implements AsyncGenerator<T, void, undefined> {
  private readonly values: T[] = [];
  private readonly readers: Reader<T>[] = [];
  private source: StreamSource | undefined;
  private opened = false;
  private ended = false;
  private left = false;
  private failure: { error: unknown } | undefined;

  constructor(private readonly open: (stream: Stream<T>) => Promise<StreamSource>) {}

  push(value: T): void {
    if (this.left) return;
    const reader = this.readers.shift();
    if (reader === undefined) this.values.push(value);
    else reader.resolve({ value, done: false });
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    for (const reader of this.readers.splice(0)) this.settle(reader);
    this.source?.close();
  }

  fail(error: unknown): void {
    if (this.ended) return;
    if (!this.left) this.failure = { error };
    this.end();
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.values.length > 0) return Promise.resolve({ value: this.values.shift() as T, done: false });
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      if (this.ended) {
        this.settle(reader);
        return;
      }
      this.readers.push(reader);
      if (!this.opened) void this.start();
    });
  }

  async return(): Promise<IteratorResult<T, void>> {
    if (!this.ended) {
      this.left = true;
      this.source?.leave();
      this.end();
    }
    this.values.length = 0;
    this.failure = undefined;
    return { value: undefined, done: true };
  }

  async throw(error: unknown): Promise<IteratorResult<T, void>> {
    await this.return();
    throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private async start(): Promise<void> {
    this.opened = true;
    try {
      this.source = await this.open(this);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.left) this.source.leave();
    if (this.ended) this.source.close();
  }

  private settle(reader: Reader<T>): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure === undefined) reader.resolve({ value: undefined, done: true });
    else reader.reject(failure.error);
  }
}
