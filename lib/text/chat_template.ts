// Chat templates: Jinja text from a model folder that turns messages into a prompt. It is data from strangers and is rendered in a thread.
import { readdir } from 'node:fs/promises';
import { listedInside } from '../checkpoint/contained_path.js';
import { readOptionalObject } from '../checkpoint/hugging_face_folder.js';
import { readTextFile } from '../checkpoint/json.js';
import { OptionError, TokenizerError } from '../errors.js';
import type { TemplateJob } from './chat_template_thread.js';
import { ThreadHost } from './thread_host.js';

/** One message of a conversation. Templates may use more fields than these. */
export interface ChatMessage {
  /** Who speaks: what the template knows, such as system, user and assistant. */
  role: string;
  /** Text, or parts as the template expects them. */
  content?: unknown;
  [field: string]: unknown;
}

/** What a template is given besides the messages. */
export interface RenderOptions {
  /** End with the beginning of the assistant's answer. Default: true. */
  addGenerationPrompt?: boolean;
  /** Tools that the model may call, as JSON schemas. */
  tools?: readonly unknown[];
  /** Documents to answer from. */
  documents?: readonly unknown[];
  /** Further variables, such as `enable_thinking`. */
  variables?: Record<string, unknown>;
  /** Which of several templates; default: `tool_use` where tools are given and it exists, else `default`. */
  name?: string;
  /** Gives up waiting. */
  signal?: AbortSignal | undefined;
}

const maxTemplateLength = 1024 * 1024;
const maxTemplates = 64;
const configLimits = { maxBytes: 8 * 1024 * 1024, maxDepth: 32 };
const moreTemplates = 'additional_chat_templates';
const renderMilliseconds = 500;

// One thread renders for the whole process, one template at a time; one that takes too long ends it, and the next gets a new one.
let renderer: ThreadHost | undefined;

/** The chat templates of a model. */
export class ChatTemplate {
  readonly #sources: ReadonlyMap<string, string>;
  readonly #tokens: Readonly<Record<string, string>>;

  /** @param sources templates by name @param tokens what templates may use as `bos_token`, `eos_token` and the like */
  constructor(sources: string | Readonly<Record<string, string>>, tokens: Readonly<Record<string, string>> = {}) {
    const entries = typeof sources === 'string' ? [['default', sources] as const] : Object.entries(sources);
    for (const [name, source] of entries) {
      if (typeof source !== 'string')
        throw new TokenizerError(`chat template ${name} is of type ${typeof source}: expected a string`, { rule: 'type', name });
      if (source.length > maxTemplateLength)
        throw new TokenizerError(`chat template ${name} has ${source.length} characters: expected at most ${maxTemplateLength}`, {
          rule: 'size',
          name,
        });
    }
    if (entries.length === 0 || entries.length > maxTemplates)
      throw new TokenizerError(`${entries.length} chat templates: expected 1 to ${maxTemplates}`, { rule: 'size' });
    this.#sources = new Map(entries);
    this.#tokens = tokens;
  }

  /** Reads a folder's templates: `chat_template.jinja`, `additional_chat_templates/`, or `chat_template` of tokenizer_config.json. Undefined where it has none. */
  static async load(folder: string, tokens: Readonly<Record<string, string>> = {}): Promise<ChatTemplate | undefined> {
    const sources: Record<string, string> = {};
    const config = await readOptionalObject(folder, 'tokenizer_config.json', configLimits);
    for (const [name, source] of templatesOfConfig(config?.chat_template)) sources[name] = source;
    const own = await readTemplate(folder, 'chat_template.jinja');
    if (own !== undefined) sources.default = own;
    const more = await listedInside(folder, moreTemplates);
    const files = more === undefined ? [] : await readdir(more).catch(() => []);
    for (const file of files.slice(0, maxTemplates)) {
      if (!file.endsWith('.jinja')) continue;
      const source = await readTemplate(folder, moreTemplates, file);
      if (source !== undefined) sources[file.slice(0, -'.jinja'.length)] = source;
    }
    return Object.keys(sources).length === 0 ? undefined : new ChatTemplate(sources, tokens);
  }

  /** Names of the templates. */
  get names(): string[] {
    return [...this.#sources.keys()];
  }

  /** The prompt for a conversation. The result starts with its own special tokens: encode it with `addSpecialTokens: false`. */
  async render(messages: readonly ChatMessage[], options: RenderOptions = {}): Promise<string> {
    if (!Array.isArray(messages))
      throw new OptionError(`messages is of type ${typeof messages}: expected an array`, { option: 'messages' });
    messages.forEach((message, i) => {
      if (typeof message?.role !== 'string')
        throw new OptionError(`messages[${i}].role is ${JSON.stringify(message?.role) ?? 'missing'}: expected a string`, {
          option: 'messages',
          index: i,
        });
    });
    const job: TemplateJob = {
      source: this.#choose(options),
      variables: {
        ...this.#tokens,
        ...options.variables,
        messages,
        tools: options.tools ?? null,
        documents: options.documents ?? null,
        add_generation_prompt: options.addGenerationPrompt ?? true,
      },
    };
    renderer ??= new ThreadHost({ entry: 'chat_template_thread', name: 'chat template', setup: undefined, setupMilliseconds: 10_000 });
    return (await renderer.run(job, renderMilliseconds, options.signal)) as string;
  }

  #choose({ name, tools }: RenderOptions): string {
    const wanted = name ?? (tools !== undefined && this.#sources.has('tool_use') ? 'tool_use' : 'default');
    const source =
      this.#sources.get(wanted) ?? (name === undefined && this.#sources.size === 1 ? [...this.#sources.values()][0] : undefined);
    if (source === undefined)
      throw new OptionError(`chat template '${wanted}' does not exist: the model has ${this.names.join(', ')}`, {
        option: 'name',
        found: wanted,
        expected: this.names,
      });
    return source;
  }
}

async function readTemplate(folder: string, ...names: string[]): Promise<string | undefined> {
  const path = await listedInside(folder, ...names);
  return path === undefined ? undefined : readTextFile(path, maxTemplateLength * 4);
}

function templatesOfConfig(value: unknown): [string, string][] {
  if (value === undefined || value === null) return [];
  if (typeof value === 'string') return [['default', value]];
  const list = Array.isArray(value) ? value : [value];
  return list.map((entry) => {
    const { name, template } = (entry ?? {}) as { name?: unknown; template?: unknown };
    if (typeof name !== 'string' || typeof template !== 'string')
      throw new TokenizerError('chat_template of tokenizer_config.json: expected a string or a list of { name, template }', {
        rule: 'type',
      });
    return [name, template];
  });
}
