/** The discrete Fourier transform of one length: Stockham's form of Cooley and Tukey's, for any prime factors. */
export class FourierTransform {
  /** cos and sin of 2π k / length. */
  readonly cosines: Float64Array;
  readonly sines: Float64Array;
  /** Multiplications of one transform, about. */
  readonly work: number;
  private readonly factors: readonly number[];
  private readonly scratch: readonly [Float64Array, Float64Array];

  constructor(readonly length: number) {
    this.cosines = Float64Array.from({ length }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.sines = Float64Array.from({ length }, (_, k) => Math.sin((2 * Math.PI * k) / length));
    this.factors = primeFactors(length);
    this.scratch = [new Float64Array(length), new Float64Array(length)];
    this.work = 4 * length * this.factors.reduce((sum, factor) => sum + factor, 1);
  }

  /** Σ_k value[k] e^(+2πi jk / length) for every j, in place. */
  invert(real: Float64Array, imaginary: Float64Array): void {
    let [re, im] = [real, imaginary];
    let [nextRe, nextIm] = this.scratch;
    let done = 1;
    for (const factor of this.factors) {
      this.pass(re, im, nextRe, nextIm, done, factor);
      [re, im, nextRe, nextIm] = [nextRe, nextIm, re, im];
      done *= factor;
    }
    if (re === real) return;
    real.set(re);
    imaginary.set(im);
  }

  // Joins `factor` transforms of `done` values each into one, all over the line.
  private pass(re: Float64Array, im: Float64Array, toRe: Float64Array, toIm: Float64Array, done: number, factor: number): void {
    const { length, cosines, sines } = this;
    const stride = length / factor;
    const step = length / (done * factor);
    for (let j = 0; j < stride; j++) {
      const inside = j % done;
      const at = (j - inside) * factor + inside;
      for (let q = 0; q < factor; q++) {
        let [sumRe, sumIm] = [re[j] as number, im[j] as number];
        // e^(2πi p (inside + q · done) / (done · factor))
        const turn = (inside + q * done) * step;
        for (let p = 1; p < factor; p++) {
          const angle = (p * turn) % length;
          const [c, s] = [cosines[angle] as number, sines[angle] as number];
          const [x, y] = [re[j + p * stride] as number, im[j + p * stride] as number];
          sumRe += x * c - y * s;
          sumIm += x * s + y * c;
        }
        toRe[at + q * done] = sumRe;
        toIm[at + q * done] = sumIm;
      }
    }
  }
}

function primeFactors(length: number): number[] {
  const factors: number[] = [];
  let left = length;
  for (let factor = 2; factor * factor <= left; factor++)
    while (left % factor === 0) {
      factors.push(factor);
      left /= factor;
    }
  return left > 1 ? [...factors, left] : factors;
}
