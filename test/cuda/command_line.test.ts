// The command line on a CUDA device.
import './long_runs.js';
import { describe, expect, it } from 'vitest';
import { heddle, jsonLines } from '../cli/run_cli.js';
import { testedCuda } from '../kernels/test_devices.js';

const device = testedCuda?.name ?? 'cuda';
// Emulated steps take long.
const timeout = 600_000;

describe.skipIf(testedCuda === undefined)('heddle on a CUDA device', { timeout }, () => {
  it('demo runs the bare model and its adapters in shared steps, and says what of the device it takes', async () => {
    const { code, stdout, stderr } = await heddle(['demo', '--device', device, '-n', '3', '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = jsonLines(stdout);
    expect(lines).toHaveLength(7);
    const { stats } = lines.at(-1) as { stats: { memoryBytes: Record<string, number> } };
    expect(stats).toMatchObject({ device, maxRequestsInStep: 6, maxAdaptersInStep: 5 });
    expect(stats.memoryBytes.device).toBeGreaterThan(stats.memoryBytes.weights as number);
    expect(stats.memoryBytes.devicePeak).toBeGreaterThanOrEqual(stats.memoryBytes.device as number);
  });

  it('inspect --devices lists it, for people and for machines', async () => {
    const machine = jsonLines((await heddle(['inspect', '--devices', '--json'])).stdout)[0] as {
      cuda: { devices: Record<string, unknown>[] };
    };
    const [first] = machine.cuda.devices;
    expect(first).toMatchObject({
      device: 'cuda',
      computeCapability: expect.stringMatching(/^\d+\.\d$/),
      driverVersion: expect.stringMatching(/^\d+\.\d$/),
    });
    expect(first?.totalBytes).toBeGreaterThanOrEqual(first?.freeBytes as number);
    const { stdout } = await heddle(['inspect', '--devices']);
    expect(stdout).toContain(first?.name as string);
    expect(stdout).toMatch(/free of .*driver \d+\.\d, runtime \d+\.\d/);
  });
});

describe('heddle without a CUDA device', () => {
  const env = { HEDDLE_CUDA_LIBRARY: '/nowhere/libheddle_cuda.so' };

  it('inspect --devices says why there is none', async () => {
    const { code, stdout } = await heddle(['inspect', '--devices', '--json'], { env });
    expect(code).toBe(0);
    expect(jsonLines(stdout)[0]).toMatchObject({
      ...{ kind: 'devices', targets: expect.any(Array) },
      cuda: { library: env.HEDDLE_CUDA_LIBRARY, devices: [], error: { code: 'ERR_HEDDLE_CUDA_LIBRARY' } },
    });
    expect((await heddle(['inspect', '--devices'], { env })).stdout).toMatch(/cuda: none\n.*is not there.*ERR_HEDDLE_CUDA_LIBRARY/);
  });

  it('a command that asks for one fails with the reason, and a name that is none is wrong usage', async () => {
    const asked = await heddle(['demo', '--device', 'cuda', '--json'], { env });
    expect(asked.code).toBe(1);
    expect(jsonLines(asked.stdout)[0]).toMatchObject({ error: { code: 'ERR_HEDDLE_CUDA_LIBRARY' } });
    const named = await heddle(['demo', '--device', 'gpu'], { env });
    expect(named).toMatchObject({ code: 2, stderr: expect.stringContaining('Expected auto, cpu, cuda') });
    const both = await heddle(['inspect', '--devices', 'x'], { env });
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('give only one of a path and --devices') });
  });
});
