import { DeviceError, fromNative, OptionError } from '../errors.js';
import { binding, type NativeCudaDevice } from './binding.js';

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

/** What names of devices look like. */
export const deviceNamePattern = /^(?:auto|cpu|cuda(?::(\d{1,3}))?)$/;

/** Said where a name looks like none. */
export const deviceNameExpectation = "expected 'auto', 'cpu', 'cuda' or 'cuda:1', 'cuda:2', ...";

/** The CUDA device of this number, not opened yet. */
export const cudaDevice = (ordinal: number): Device => ({ name: ordinal === 0 ? 'cuda' : `cuda:${ordinal}`, ordinal });

/** Whether both are the same device. */
export const sameDevice = (a: Device, b: Device): boolean => a.ordinal === b.ordinal;

/**
 * A device by name: 'cpu', 'cuda' (the first CUDA device), 'cuda:1', or 'auto': the first CUDA device where one can be used, otherwise the
 * processor with the reason. An emulated device is never chosen by 'auto'. Throws OptionError for another name, DeviceError where a CUDA device
 * that is asked for cannot be used; its code says what stands in the way.
 */
export function openDevice(name: string): Device {
  const match = deviceNamePattern.exec(name);
  if (match === null) throw new OptionError(`the device is '${name}': ${deviceNameExpectation}`, { actual: name });
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
    if (error instanceof DeviceError) return { ...cpu, reason: error.message };
    throw error;
  }
}

/** The CUDA devices of this machine. Throws DeviceError with a code that says what stands in the way where there is none. */
export function cudaDevices(): NativeCudaDevice[] {
  try {
    return binding().cudaDevices();
  } catch (error) {
    throw fromNative(error);
  }
}

// The smallest thing that fails where a device cannot be used.
function touch(device: Device): void {
  try {
    new (binding().Buffer)(64, device.ordinal).dispose();
  } catch (error) {
    throw fromNative(error, { device: device.name });
  }
}
