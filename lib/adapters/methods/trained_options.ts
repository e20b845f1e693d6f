import { z } from 'zod';
import { parseOptions } from '../../runtime/parse_options.js';
import type { MethodSettings } from '../trainable_method.js';

/** `methodOptions` checked against what the method knows. Throws OptionError naming the option, its value and what was expected. */
export function methodOptionsOf<Shape extends z.ZodRawShape>(
  { methodOptions }: MethodSettings,
  shape: Shape,
): z.output<z.ZodObject<Shape, z.core.$strict>> {
  return parseOptions(z.strictObject(shape), methodOptions, 'methodOptions');
}
