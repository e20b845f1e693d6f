import { describe, expect, it } from 'vitest';
import { adapter, base, heddle, jsonLines, onTerminal } from './run_cli.ts';
import { Screen } from './screen.ts';

const names = ['base', 'cynic', 'detective', 'playwright', 'poet', 'president'];

describe('heddle demo', () => {
  it('continues one prompt with the base and five adapters in one batch', async () => {
    const { code, stdout, stderr } = await heddle(['demo', '--json']);
    expect(stderr).toBe('');
    const lines = jsonLines(stdout);
    expect(lines.slice(0, -1).map(({ id, adapter: name }) => [id, name])).toEqual(
      names.map((name) => [name, name === 'base' ? null : name]),
    );
    for (const line of lines.slice(0, -1))
      expect(line).toMatchObject({
        finishReason: expect.stringMatching(/^(length|stop)$/),
        text: expect.stringMatching(/\w/),
        tokens: expect.any(Array),
      });
    expect(new Set(lines.slice(0, -1).map((line) => line.text)).size).toBe(6);
    const { stats } = lines.at(-1) as { stats: Record<string, unknown> & { memoryBytes: Record<string, number> } };
    expect(stats).toMatchObject({ maxRequestsInStep: 6, maxAdaptersInStep: 5, generatedTokens: expect.any(Number) });
    expect(stats.tokensPerSecond).toBeGreaterThan(0);
    // 2.8 million parameters of 12 or 16 bits, in panels.
    expect(stats.memoryBytes.weights).toBeGreaterThan(4e6);
    expect(stats.memoryBytes.poolInUse).toBeGreaterThan(0);
    expect(stats.memoryBytes.process).toBeGreaterThan(2e7);
    expect(code).toBe(0);
  });

  it('writes labelled blocks in a pipe, without steering a terminal', async () => {
    const { code, stdout, stderr } = await heddle(['demo', '-n', '12']);
    expect(stdout).toMatch(/^The king said: …\n\n\[base\]\n/);
    for (const name of names) expect(stdout).toContain(`[${name}]\n`);
    expect(stdout).toMatch(/tokens per second/);
    expect(stdout).toMatch(/6 requests and 5 adapters per step/);
    expect(stdout).toMatch(/weights .*MB, pool .*MB in use of .*MB, process .*MB/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('tells the same story for the same seed, another for another', async () => {
    const story = async (seed: string) => jsonLines((await heddle(['demo', '--json', '-n', '16', '--seed', seed])).stdout).slice(0, -1);
    const [first, again, other] = [await story('5'), await story('5'), await story('6')];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it('takes another model, prompt and adapters', async () => {
    const words = ['demo', '-m', base, '-a', `verse=${adapter('poet')}`, '-p', 'O Captain', '-n', '5', '-t', '0', '--json'];
    const lines = jsonLines((await heddle(words)).stdout);
    expect(lines.slice(0, -1).map((line) => line.id)).toEqual(['base', 'verse']);
    expect(lines.at(-1)?.stats).toMatchObject({ maxRequestsInStep: 2, maxAdaptersInStep: 1 });
  });

  it.each([
    ['six columns', 160, 1],
    ['two bands of three', 80, 2],
  ])('shows %s on a terminal', (_, columns, bands) => {
    const written = onTerminal(['demo', '-n', '24'], { columns, rows: 30 });
    if (written === undefined) return;
    const screen = new Screen(columns, 1000);
    screen.write(written);
    const titles = screen.lines.filter((line) => /^(base|playwright) +│/.test(line));
    expect(titles).toHaveLength(bands);
    for (const name of names) expect(titles.join(' ')).toContain(name);
    expect(screen.lines.filter((line) => /^─+┼/.test(line))).toHaveLength(bands);
    expect(screen.lines.filter((line) => /[│┼]/.test(line)).every((line) => line.length < columns)).toBe(true);
    expect(screen.text).toContain('tokens per second');
    // The bar on standard error is gone.
    expect(screen.text).not.toContain('loading');
    expect(written).toContain('loading');
  });
});
