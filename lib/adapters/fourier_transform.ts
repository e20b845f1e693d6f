/** The discrete Fourier transform of one length: Cooley and Tukey's for its prime factors, the definition for what remains prime. */
export class FourierTransform {
  private readonly cosines: Float64Array;
  private readonly sines: Float64Array;
  private readonly factors: readonly number[];
  /** Multiplications of one transform, about. */
  readonly work: number;

  constructor(readonly length: number) {
    this.cosines = Float64Array.from({ length }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.sines = Float64Array.from({ length }, (_, k) => Math.sin((2 * Math.PI * k) / length));
    this.factors = primeFactors(length);
    this.work = 4 * length * this.factors.reduce((sum, factor) => sum + factor, 1);
  }

  /** Σ_k value[k] e^(+2πi jk / length) for every j, in place. */
  invert(real: Float64Array, imaginary: Float64Array): void {
    const [re, im] = this.transform(real, imaginary, 0, 1, this.length, 0);
    real.set(re);
    imaginary.set(im);
  }

  // The transform of `length` values from `start` at steps of `stride`.
  private transform(
    real: Float64Array,
    imaginary: Float64Array,
    start: number,
    stride: number,
    length: number,
    depth: number,
  ): [Float64Array, Float64Array] {
    const re = new Float64Array(length);
    const im = new Float64Array(length);
    if (length <= 1) {
      if (length === 1) [re[0], im[0]] = [real[start] as number, imaginary[start] as number];
      return [re, im];
    }
    const factor = this.factors[depth] as number;
    const rest = length / factor;
    const parts = Array.from({ length: factor }, (_, p) =>
      this.transform(real, imaginary, start + p * stride, stride * factor, rest, depth + 1),
    );
    const step = this.length / length;
    for (let j = 0; j < length; j++) {
      let [sumRe, sumIm] = [0, 0];
      for (let p = 0; p < factor; p++) {
        const [partRe, partIm] = parts[p] as [Float64Array, Float64Array];
        const turn = ((p * j) % length) * step;
        const [c, s] = [this.cosines[turn] as number, this.sines[turn] as number];
        const [x, y] = [partRe[j % rest] as number, partIm[j % rest] as number];
        sumRe += x * c - y * s;
        sumIm += x * s + y * c;
      }
      re[j] = sumRe;
      im[j] = sumIm;
    }
    return [re, im];
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
