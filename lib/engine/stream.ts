/** Hands values from whoever produces them to one `for await` loop. The producer never waits. */
export class Stream<T> {
  private readonly values: T[] = [];
  private wake: (() => void) | undefined;
  private ended = false;
  private error: unknown;

  push(value: T): void {
    this.values.push(value);
    this.wake?.();
  }

  end(): void {
    this.ended = true;
    this.wake?.();
  }

  fail(error: unknown): void {
    this.error = error;
    this.end();
  }

  /** `leave` is called when the loop ends before the stream does. */
  async *read(leave: () => void): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        while (this.values.length > 0) yield this.values.shift() as T;
        if (this.error !== undefined) throw this.error;
        if (this.ended) return;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    } finally {
      if (!this.ended) leave();
    }
  }
}
