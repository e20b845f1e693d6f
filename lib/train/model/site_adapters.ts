// Which adapters act at which sites of a training graph, and their parameters as nodes of it.
import type { SiteShape } from '../../adapters/method.js';
import type { FactorParts, MethodSettings, TrainableMethod } from '../../adapters/trainable_method.js';
import { InternalError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import type { Tensor } from '../../graph/tensor.js';
import type { ParameterStore, StoredAdapter, StoredParameter } from './parameter_store.js';

/** One adapter of a training. */
export interface AdapterInTraining {
  readonly name: string;
  readonly slot: number;
  readonly method: TrainableMethod;
  readonly settings: MethodSettings;
  readonly sites: readonly SiteShape[];
  readonly stored: StoredAdapter;
}

/** The parameters of one graph: which nodes there are, and where their gradients go. */
export class ParameterNodes {
  /** Trained parameter → state that its gradient is added to. */
  readonly gradients = new Map<Tensor, Tensor>();
  private readonly nodes = new Map<StoredParameter, Tensor>();

  constructor(
    private readonly graph: Graph,
    private readonly store: ParameterStore,
    private readonly adapters: readonly AdapterInTraining[],
  ) {}

  /** A parameter in its shape. */
  of(slot: number, path: string, part: string): Tensor {
    const { name, stored } = this.adapters[slot] as AdapterInTraining;
    const parameter = stored.parameters.find((p) => p.path === path && p.spec.part === part);
    if (parameter === undefined) throw new InternalError(`adapter ${name} has no parameter ${part} at ${path}`);
    let node = this.nodes.get(parameter);
    if (node === undefined) {
      node = this.add(`${name} ${path} ${part}`, parameter);
      this.nodes.set(parameter, node);
    }
    return node;
  }

  /** All parameters of all adapters as bytes, as the kernels of grouped_lora address them. */
  pool(): Tensor {
    const { values, gradients } = this.store;
    const pool = this.graph.parameter('pool', { ...values, dtype: 'u8', dims: [values.buffer.byteLength] });
    this.gradients.set(pool, this.graph.state('gradients', gradients));
    return pool;
  }

  private add(name: string, { spec, offset, rows, width, stride }: StoredParameter): Tensor {
    const dense = rows === 1 || stride === width;
    const dims = dense ? spec.shape : [rows, stride];
    const values = this.store.slice('values', offset, dims);
    if (spec.bits !== undefined) return this.graph.state(name, { ...values, dtype: spec.bits.dtype, dims: [spec.bits.count] });
    if (!spec.trained) {
      const frozen = this.graph.state(name, values);
      return dense ? frozen : frozen.columns(0, width);
    }
    const parameter = this.graph.parameter(name, values);
    this.gradients.set(parameter, this.graph.state(`gradient of ${name}`, this.store.slice('gradients', offset, dims)));
    return dense ? parameter : parameter.columns(0, width);
  }
}

/** Whether an adapter changes a site. */
export function actsAt(adapter: AdapterInTraining, site: SiteShape): boolean {
  return adapter.sites.some(({ path }) => path === site.path);
}

/** The factors of an adapter at a site, or undefined where it has none. */
export function factorsAt(adapter: AdapterInTraining, site: SiteShape): FactorParts | undefined {
  return actsAt(adapter, site) ? adapter.method.factors?.(adapter.settings, site) : undefined;
}
