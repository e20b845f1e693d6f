import { z } from 'zod';

/** A signal among the options of a call. */
export const signalSchema = z.instanceof(AbortSignal, { error: 'expected an AbortSignal' });
