import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AbortError, OptionError, TokenizerError } from '../../lib/errors.js';
import { ChatTemplate } from '../../lib/text/chat_template.js';

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi <b>&' },
];

function render(source: string, options: Parameters<ChatTemplate['render']>[1] = {}, tokens: Record<string, string> = {}): Promise<string> {
  return new ChatTemplate(source, tokens).render(messages, options);
}

describe('ChatTemplate', () => {
  it('renders ChatML', async () => {
    const source =
      "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\n" +
      "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n";
    const conversation = '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b>&<|im_end|>\n';
    expect(await render(source)).toBe(`${conversation}<|im_start|>assistant\n`);
    expect(await render(source, { addGenerationPrompt: false })).toBe(conversation);
  });

  it('gives templates tokens, tools, macros, namespaces and variables', async () => {
    const source = `{{ bos_token }}{% set ns = namespace(seen=false) %}
{%- macro header(role) %}[{{ role | upper }}]{% endmacro %}
{%- for message in messages if message.role != 'system' %}{% set ns.seen = true %}{{ header(message.role) }} {{ message.content | trim }}{% endfor %}
{%- if tools is not none %} {{ tools | tojson }}{% endif %}{% if enable_thinking is defined and enable_thinking %} think{% endif %}{{ eos_token if ns.seen }}`;
    const tokens = { bos_token: '<s>', eos_token: '</s>' };
    expect(await render(source, {}, tokens)).toBe('<s>[USER] Hi <b>&</s>');
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }];
    expect(await render(source, { tools, variables: { enable_thinking: true } }, tokens)).toBe(
      '<s>[USER] Hi <b>& [{"type": "function", "function": {"name": "f", "parameters": {}}}] think</s>',
    );
    expect(await render('{{ unknown_token }}|{{ pad_token is defined }}')).toBe('|false');
  });

  it('writes dates in English, as strftime does', async () => {
    const now = new Date();
    const month = now.toLocaleString('en-US', { month: 'short' });
    expect(await render("{{ strftime_now('%d %b %Y') }}")).toBe(`${String(now.getDate()).padStart(2, '0')} ${month} ${now.getFullYear()}`);
    expect(await render("{{ strftime_now('%-d%% %q') }}")).toBe(`${now.getDate()}% %q`);
  });

  it('passes on what raise_exception says', async () => {
    await expect(render("{{ raise_exception('roles must alternate') }}")).rejects.toThrow(/refused the conversation: roles must alternate/);
  });

  it('chooses among named templates', async () => {
    const template = new ChatTemplate({ default: 'plain', tool_use: 'tools', rag: 'documents' });
    expect(template.names).toEqual(['default', 'tool_use', 'rag']);
    expect(await template.render([])).toBe('plain');
    expect(await template.render([], { tools: [] })).toBe('tools');
    expect(await template.render([], { name: 'rag' })).toBe('documents');
    await expect(template.render([], { name: 'poem' })).rejects.toThrow(/'poem' does not exist: the model has default, tool_use, rag/);
  });

  it('refuses what are no messages, and what cannot be handed over', async () => {
    await expect(new ChatTemplate('x').render([{ content: 'a' } as never])).rejects.toThrow(OptionError);
    await expect(new ChatTemplate('x').render('hi' as never)).rejects.toThrow(/messages is of type string/);
    await expect(new ChatTemplate('x').render([{ role: 'user', content: () => 1 }])).rejects.toThrow(TokenizerError);
    expect(() => new ChatTemplate({})).toThrow(TokenizerError);
    expect(() => new ChatTemplate('x'.repeat(2_000_000))).toThrow(/2000000 characters/);
    await expect(render('x', { signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
    await expect(render('x', { variables: { range: 1 } })).rejects.toThrow(/already declared: range/);
  });
});

describe('ChatTemplate.load', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-chat-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const config = (chat_template: unknown): void => writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template }));

  it('reads a string, a list, and files, of which the file wins', async () => {
    expect(await ChatTemplate.load(folder)).toBeUndefined();
    config('from config {{ bos_token }}');
    expect(await (await ChatTemplate.load(folder, { bos_token: '<s>' }))?.render([])).toBe('from config <s>');
    config([
      { name: 'default', template: 'one' },
      { name: 'tool_use', template: 'two' },
    ]);
    expect((await ChatTemplate.load(folder))?.names).toEqual(['default', 'tool_use']);
    writeFileSync(join(folder, 'chat_template.jinja'), 'from file');
    mkdirSync(join(folder, 'additional_chat_templates'));
    writeFileSync(join(folder, 'additional_chat_templates', 'rag.jinja'), 'from folder');
    const template = await ChatTemplate.load(folder);
    expect(await template?.render([])).toBe('from file');
    expect(await template?.render([], { name: 'rag' })).toBe('from folder');
  });

  it('refuses templates of the wrong type', async () => {
    for (const wrong of [5, [5], [{ name: 'a' }], { default: 1 }]) {
      config(wrong);
      await expect(ChatTemplate.load(folder)).rejects.toThrow(TokenizerError);
    }
  });

  it('follows links inside the folder only', async () => {
    const own = join(folder, 'model');
    const more = join(own, 'additional_chat_templates');
    mkdirSync(more, { recursive: true });
    writeFileSync(join(own, 'real.jinja'), 'real');
    symlinkSync('../real.jinja', join(more, 'rag.jinja'));
    symlinkSync('real.jinja', join(own, 'chat_template.jinja'));
    expect((await ChatTemplate.load(own))?.names).toEqual(['default', 'rag']);
    for (const name of ['secret.jinja', 'tokenizer_config.json']) writeFileSync(join(folder, name), '{"chat_template": "secret"}');
    const outward: [string, string][] = [
      ['chat_template.jinja', '../secret.jinja'],
      ['tokenizer_config.json', '../tokenizer_config.json'],
      ['additional_chat_templates/more.jinja', '../../secret.jinja'],
      ['additional_chat_templates', folder],
    ];
    for (const [name, target] of outward) {
      const path = join(own, name);
      rmSync(path, { recursive: true, force: true });
      symlinkSync(target, path);
      await expect(ChatTemplate.load(own), name).rejects.toMatchObject({ details: { rule: 'link-outside' } });
      rmSync(path);
    }
  });

  it('finds none beside the storyteller', async () => {
    cpSync(join(import.meta.dirname, '../../examples/storyteller/base/tokenizer_config.json'), join(folder, 'tokenizer_config.json'));
    expect(await ChatTemplate.load(folder)).toBeUndefined();
  });
});

// Templates that would run code, read the environment, or eat time and memory where a full Jinja or JavaScript is behind them.
const harmless = [
  '{{ messages.__proto__ }}{{ messages.constructor }}{{ messages[0].__proto__ }}{{ messages[0].constructor }}',
  "{{ ''.constructor }}{{ ''['__class__'] }}{{ messages['constructor'] }}",
  '{{ self }}{{ config }}{{ request }}{{ cycler }}{{ joiner }}{{ lipsum }}{{ url_for }}{{ process }}{{ globalThis }}{{ require }}{{ this }}',
  '{{ range.__globals__ }}{{ raise_exception.constructor }}{{ namespace.constructor }}',
  '{% set x = namespace(constructor=1) %}{{ x.__proto__ }}',
];

const malicious = [
  "{{ ''.constructor.constructor('return process')().exit(1) }}",
  "{{ range.constructor('return process')() }}",
  "{{ ''.__class__.__mro__[1].__subclasses__()[104].__init__.__globals__['sys'].modules['os'].popen('id').read() }}",
  "{{ self.__init__.__globals__.__builtins__.__import__('os').system('id') }}",
  "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
  "{% for x in ().__class__.__base__.__subclasses__() %}{% if 'warning' in x.__name__ %}{{ x()._module.__builtins__['__import__']('os').popen('id').read() }}{% endif %}{% endfor %}",
  "{{ ''|attr('__class__')|attr('__mro__') }}",
  "{{ ''['\\x5f\\x5fclass\\x5f\\x5f']['\\x5f\\x5fmro\\x5f\\x5f'][1] }}",
  "{{ request.application.__globals__.__builtins__.open('/etc/passwd').read() }}",
  "{{ config.items()|list }}{{ config.__class__.from_envvar('PATH') }}",
  "{{ joiner.__init__.__globals__.os.environ.get('PATH') }}",
  "{{ eval('1') }}",
  "{{ getattr('', '__class__') }}",
  "{{ ('o' ~ 's')|import }}",
  "{{ 'aWQ='|b64decode|system }}",
  "{{ '%s' | format(self.__init__.__globals__) }}",
  "{% include '/etc/passwd' %}",
  "{% import 'os' as os %}{{ os.system('id') }}",
  "{% extends '../../etc/passwd' %}",
  '{% for i in range(1000000000) %}x{% endfor %}',
  '{% for i in range(0, 99999999999999999999, 1) %}x{% endfor %}',
  '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}',
  '{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}',
  '{% macro f(n) %}{{ g(n) }}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}',
  "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | upper }}",
  '{% set ns = namespace(s=[1, 2]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}',
  "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = ns.l + ['x'] %}{% endfor %}",
  '{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}',
  "{{ 'a\nb' | indent(500000000) }}",
  "{{ 'a\nb' | indent(width=90000000) }}",
  '{{ [[1]] | tojson(indent=500000000) }}',
  "{{ range(90000) | join(range(90000) | join('ab')) }}",
  "{% set long = range(90000) | join('ab') %}{{ long.replace('a', long) }}",
  "{{ (range(90000) | join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')).split('a') | length }}",
  '{{ 2 ** 99999 }}',
  '{{',
  '{% for x in messages %}',
  '{% if %}{% endif %}',
  `{{ ${'('.repeat(100_000)} }}`,
  `{{ ${'['.repeat(100_000)} }}`,
  `${'{% if true %}'.repeat(50_000)}`,
  `{{ ${'not '.repeat(100_000)} true }}`,
  `{{ a${'.a'.repeat(100_000)}() }}`,
];

describe('chat templates are data', () => {
  it.each(harmless)('renders to nothing: %s', async (source) => {
    expect(await render(source)).toBe('');
  });

  it.each(malicious.map((source, i) => ({ i, title: source.slice(0, 80), source })))('refuses $i: $title', async ({ source }) => {
    const start = performance.now();
    const error = await render(source).then(
      (text) => `rendered ${text.slice(0, 100)}`,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(TokenizerError);
    expect((error as Error).message.length).toBeLessThan(2_500);
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(process.memoryUsage.rss()).toBeLessThan(1.5e9);
  });

  it('renders the next conversation after one that was stopped', async () => {
    const [stopped, next] = await Promise.allSettled([render(malicious[21] as string), render('{{ messages | length }}')]);
    expect(stopped.status).toBe('rejected');
    expect(next).toEqual({ status: 'fulfilled', value: '2' });
  });

  it('does not change what runs outside its thread', async () => {
    await render('{{ 1 }}');
    expect('ab'.repeat(3_000_000).length).toBe(6_000_000);
    expect([1, 2].join()).toBe('1,2');
  });
});
