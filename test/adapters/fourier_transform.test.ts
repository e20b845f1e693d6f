import { expect, it } from 'vitest';
import { FourierTransform } from '../../lib/adapters/fourier_transform.ts';
import { randomNormal } from '../kernels/numbers.ts';

it.each([1, 2, 3, 8, 13, 30, 49, 96, 101, 210])('inverts a transform of length %i', (length) => {
  const [real, imaginary] = [randomNormal(length, 1), randomNormal(length, 2)];
  const [re, im] = [real.slice(), imaginary.slice()];
  new FourierTransform(length).invert(re, im);
  for (let j = 0; j < length; j++) {
    let [x, y] = [0, 0];
    for (let k = 0; k < length; k++) {
      const angle = (2 * Math.PI * ((j * k) % length)) / length;
      x += (real[k] as number) * Math.cos(angle) - (imaginary[k] as number) * Math.sin(angle);
      y += (real[k] as number) * Math.sin(angle) + (imaginary[k] as number) * Math.cos(angle);
    }
    expect(Math.abs((re[j] as number) - x)).toBeLessThan(1e-11);
    expect(Math.abs((im[j] as number) - y)).toBeLessThan(1e-11);
  }
});
