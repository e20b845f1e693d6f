import { DisposedError, fromNative, OptionError } from '../errors.js';
import { binding, type NativeBuffer } from './binding.js';
import type { Device } from './device.js';
import { expectReadable, type TensorData } from './dtype.js';
import { shownValue } from './shown_value.js';

type CheckedBuffer = new (bytes: number, device: Device) => NativeBuffer;

let checked: CheckedBuffer | undefined;

/** A block of memory of a device. Throws PoolExhaustedError when there is none, DeviceError when the device is lost. */
export function allocate(bytes: number, device: Device): NativeBuffer {
  checked ??= checkedClass();
  try {
    return new checked(bytes, device);
  } catch (error) {
    throw fromNative(error, { bytes, device: device.name });
  }
}

// Users hold buffers: what goes wrong with one must be an error of heddle, not of the native library.
function checkedClass(): CheckedBuffer {
  return class Buffer extends binding().Buffer {
    readonly #details: { readonly device: string };

    constructor(bytes: number, device: Device) {
      super(bytes, device.ordinal);
      this.#details = { device: device.name };
    }

    override async write(offset: number, data: TensorData, beside = false): Promise<void> {
      expectUsable(this, 'write');
      if (!ArrayBuffer.isView(data) || (data as ArrayBufferView) instanceof DataView)
        throw new OptionError(`buffer.write: data is ${shownValue(data)}: expected a typed array`, { option: 'data', actual: data });
      expectReadable(data, 'buffer.write: data');
      expectWithin(this, 'write', offset, data.byteLength);
      try {
        await super.write(offset, data, beside);
      } catch (error) {
        throw fromNative(error, this.#details);
      }
    }

    override async read(offset: number, bytes: number): Promise<ArrayBuffer> {
      expectUsable(this, 'read');
      expectWithin(this, 'read', offset, bytes);
      try {
        return await super.read(offset, bytes);
      } catch (error) {
        throw fromNative(error, this.#details);
      }
    }
  };
}

function expectUsable(buffer: NativeBuffer, method: string): void {
  if (buffer.disposed) throw new DisposedError(`buffer.${method}: the buffer was used after dispose()`);
}

function expectWithin({ byteLength }: NativeBuffer, method: string, offset: number, bytes: number): void {
  for (const [name, value] of Object.entries({ offset, bytes }))
    if (!Number.isSafeInteger(value) || value < 0)
      throw new OptionError(`buffer.${method}: ${name} is ${shownValue(value)}: expected a whole number, 0 or more`, {
        option: name,
        actual: value,
      });
  if (offset + bytes > byteLength)
    throw new OptionError(`buffer.${method}: ${bytes} bytes from byte ${offset} on do not lie within the buffer of ${byteLength}`, {
      actual: offset + bytes,
      expected: byteLength,
    });
}
