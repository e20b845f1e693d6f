// The emulated CUDA device, for tests that give it faults.
import { cudaDevices } from '../../lib/runtime/device.js';
import { testedCuda } from '../kernels/test_devices.js';

/** Whether the CUDA device of this run is an emulated one. */
export const emulated: boolean = testedCuda !== undefined && cudaDevices()[0]?.emulated === true;
