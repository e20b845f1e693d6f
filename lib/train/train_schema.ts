import { z } from 'zod';
import { trainFileSchema } from './options.js';

/** JSON schema of the files that `heddle train --config` reads; docs/train.schema.json is a copy of it. */
export function trainJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(trainFileSchema, { io: 'input' }) as Record<string, unknown>;
  return { ...schema, title: 'heddle train', description: 'Options of a training: heddle train --config <file>' };
}
