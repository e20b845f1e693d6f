import { z } from 'zod';
import { DeviceError, fromNative, type HeddleError, OptionError, PoolExhaustedError } from '../errors.js';
import { binding, type NativeCudaDevice, type NativeDeviceMemory } from './binding.js';

/** What programs run on and tensors lie in: the processor, or a CUDA device. */
export interface Device {
  /** 'cpu', 'cuda' for the first CUDA device, 'cuda:1' and so on for the others. */
  readonly name: string;
  /** Number of the CUDA device; undefined: the processor. */
  readonly ordinal: number | undefined;
  /** Where 'auto' chose the processor: why no CUDA device is used. */
  readonly reason?: string;
}

/** The processor. */
export const cpu: Device = { name: 'cpu', ordinal: undefined };

const namePattern = /^(?:auto|cpu|cuda(?::(\d{1,3}))?)$/;
const expectation = "expected 'auto', 'cpu', 'cuda' or, where there are more, 'cuda:1' and so on";

/** An option that names a device. */
export const deviceSchema = z.string().regex(namePattern, expectation);

/** The CUDA device of this number, not opened yet. */
export const cudaDevice = (ordinal: number): Device => ({ name: ordinal === 0 ? 'cuda' : `cuda:${ordinal}`, ordinal });

/** Whether both are the same device. */
export const sameDevice = (a: Device, b: Device): boolean => a.ordinal === b.ordinal;

/**
 * A device by name: 'cpu', 'cuda' (the first CUDA device), 'cuda:1', or 'auto': what the environment variable HEDDLE_DEVICE names, otherwise the
 * first CUDA device where one can be used, otherwise the processor with the reason. 'auto' takes no emulated device. Throws OptionError for
 * another name, DeviceError where a CUDA device that is asked for cannot be used: its code says what stands in the way.
 */
export function openDevice(name: string): Device {
  const preferred = process.env.HEDDLE_DEVICE;
  if (name === 'auto' && preferred) return openNamed(preferred, `HEDDLE_DEVICE is '${preferred}'`);
  return openNamed(name, `the device is '${name}'`);
}

/** Whether a name leaves the choice to heddle. */
export const choosesItself = (name: string): boolean => name === 'auto' && (process.env.HEDDLE_DEVICE || 'auto') === 'auto';

function openNamed(name: string, what: string): Device {
  const match = namePattern.exec(name);
  if (match === null) throw new OptionError(`${what}: ${expectation}`, { actual: name });
  if (name === 'cpu') return cpu;
  if (name === 'auto') return openUsable();
  const device = cudaDevice(Number(match[1] ?? 0));
  touch(device);
  return device;
}

function openUsable(): Device {
  try {
    const devices = cudaDevices();
    const found = devices.find(({ emulated }) => !emulated);
    if (found === undefined) return { ...cpu, reason: "the only CUDA device is an emulated one: ask for it with 'cuda'" };
    const device = cudaDevice(found.ordinal);
    touch(device);
    return device;
  } catch (error) {
    if (standsInTheWay(error)) return { ...cpu, reason: (error as HeddleError).message };
    throw error;
  }
}

/** Whether an error says that a CUDA device cannot be used, or has too little memory: 'auto' then takes the processor. */
export const standsInTheWay = (error: unknown): boolean =>
  error instanceof DeviceError || (error instanceof PoolExhaustedError && String(error.details.device).startsWith('cuda'));

/** The CUDA devices of this machine; `details` take memory on every one. Throws DeviceError with a code that says what stands in the way where there is none. */
export function cudaDevices(details = false): NativeCudaDevice[] {
  try {
    return binding().cudaDevices(details);
  } catch (error) {
    throw fromNative(error);
  }
}

/** Memory of a CUDA device that was opened. */
export const memoryOn = ({ ordinal }: Device): NativeDeviceMemory | undefined =>
  binding()
    .deviceMemory()
    .find((device) => device.ordinal === ordinal);

/** Bytes that this process held at most in the memory of a device. */
export const peakBytesOn = (device: Device): number =>
  (device.ordinal === undefined ? binding().memory().peakBytes : memoryOn(device)?.peakBytes) ?? 0;

// The smallest thing that fails where a device cannot be used.
function touch(device: Device): void {
  try {
    new (binding().Buffer)(64, device.ordinal).dispose();
  } catch (error) {
    throw fromNative(error, { device: device.name });
  }
}
