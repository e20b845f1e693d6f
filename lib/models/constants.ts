import type { Graph } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import type { Device } from '../runtime/device.js';
import { type DeviceTensor, tensor } from '../runtime/device_tensor.js';
import type { TensorData } from '../runtime/dtype.js';

/** Small tables by key, shared by all graphs of a model. */
export type Tables = Map<string, DeviceTensor>;

/** Frozen memory as nodes of one graph: weights, and small tables made in TypeScript. One node for one tensor. */
export class Constants {
  private readonly nodes = new Map<DeviceTensor, Tensor>();

  constructor(
    private readonly graph: Graph,
    private readonly tables: Tables,
    private readonly device: Device,
  ) {}

  /** The node of a weight. */
  of(device: DeviceTensor): Tensor {
    let node = this.nodes.get(device);
    if (node === undefined) {
      node = this.graph.weight(`weight ${this.nodes.size}`, device);
      this.nodes.set(device, node);
    }
    return node;
  }

  /** A vector that is computed when the first graph asks. */
  table(key: string, dtype: 'f32' | 'i32', values: () => TensorData): Tensor {
    let made = this.tables.get(key);
    if (made === undefined) {
      const data = values();
      made = tensor(dtype, [data.length], data, this.device);
      this.tables.set(key, made);
    }
    return this.of(made);
  }
}
