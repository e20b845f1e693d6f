// Which devices tests run on. HEDDLE_TEST_DEVICES is cpu, cuda or cpu,cuda; unset: the processor, and a CUDA device where there is one.
import { type OpName, opTable } from '../../lib/generated/op_table.js';
import { cpu, cudaDevice, cudaDevices, type Device, openDevice } from '../../lib/runtime/device.js';

function chosen(): { onCpu: boolean; cuda: Device | undefined } {
  const asked = process.env.HEDDLE_TEST_DEVICES;
  if (asked === undefined || asked === '') return { onCpu: true, cuda: whereThereIsOne() };
  const names = asked.split(',');
  const wrong = names.find((name) => name !== 'cpu' && name !== 'cuda');
  if (wrong !== undefined) throw new Error(`HEDDLE_TEST_DEVICES names '${wrong}': expected cpu, cuda or cpu,cuda`);
  // What was asked for must be there: otherwise everything would pass without running.
  return { onCpu: names.includes('cpu'), cuda: names.includes('cuda') ? openDevice('cuda') : undefined };
}

function whereThereIsOne(): Device | undefined {
  try {
    return cudaDevices().length > 0 ? cudaDevice(0) : undefined;
  } catch {
    return undefined;
  }
}

const { onCpu, cuda } = chosen();

/** Whether tests run on the processor. */
export const testsCpu: boolean = onCpu;

/** The CUDA device of this run, emulated or not. */
export const testedCuda: Device | undefined = cuda;

/** The devices that tests of models and graphs run on. */
export const testedDevices: readonly Device[] = [...(onCpu ? [cpu] : []), ...(cuda === undefined ? [] : [cuda])];

/** Whether an op has a kernel for CUDA devices. */
export const hasCudaKernel = (op: OpName): boolean => (opTable[op].backends as readonly string[]).includes('cuda');
