// Adapters that store a seed instead of places were made with PyTorch's generator: the same places are found again here.

const size = 624;
const shift = 397;

/** Mersenne Twister with 32 bits. Matsumoto and Nishimura, ACM Transactions on Modeling and Computer Simulation 8, 1998. */
export class MersenneTwister {
  private readonly state = new Uint32Array(size);
  private at = size;

  /** `seed`: its low 32 bits count. */
  constructor(seed: number) {
    this.state[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < size; i++) {
      const before = this.state[i - 1] as number;
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** The next 32 bits. */
  next(): number {
    if (this.at === size) this.twist();
    let y = this.state[this.at++] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < size; i++) {
      const y = ((state[i] as number) & 0x80000000) | ((state[(i + 1) % size] as number) & 0x7fffffff);
      state[i] = (state[(i + shift) % size] as number) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }
}

/**
 * The first `count` numbers of the permutation of 0 .. total - 1 that torch.randperm makes on a CPU with this seed: Fisher and
 * Yates' shuffle, of which only the start is made. `total` below 2^32.
 */
export function startOfPermutation(seed: number, total: number, count: number): number[] {
  const random = new MersenneTwister(seed);
  // Places that an exchange has changed.
  const moved = new Map<number, number>();
  return Array.from({ length: count }, (_, i) => {
    if (i === total - 1) return moved.get(i) ?? i;
    const other = i + (random.next() % (total - i));
    const chosen = moved.get(other) ?? other;
    moved.set(other, moved.get(i) ?? i);
    return chosen;
  });
}
