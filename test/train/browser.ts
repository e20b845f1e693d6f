import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'microsoft-edge'];

/** A browser of this machine: HEDDLE_BROWSER, or the first that is on the PATH. */
export function findBrowser(): string | undefined {
  const named = process.env.HEDDLE_BROWSER;
  if (named !== undefined) return named;
  const folders = (process.env.PATH ?? '').split(delimiter);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

/** How a page is opened. */
export interface PageOptions {
  readonly width: number;
  readonly height: number;
  readonly dark?: boolean;
  readonly profile: string;
}

function run(browser: string, file: string, { width, height, dark, profile }: PageOptions, extra: readonly string[]): string {
  const words = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--hide-scrollbars',
    `--user-data-dir=${profile}`,
  ];
  const size = [`--window-size=${width},${height}`, ...(dark ? ['--blink-settings=preferredColorScheme=0', '--force-dark-mode'] : [])];
  const { status, stdout, stderr, error } = spawnSync(browser, [...words, ...size, ...extra, pathToFileURL(file).href], {
    encoding: 'utf8',
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined || status !== 0) throw new Error(`${browser} ended with ${status}: ${error?.message ?? stderr}`);
  return stdout;
}

/** The page as the browser has built it, after its scripts. */
export function dumpDom(browser: string, file: string, options: PageOptions): string {
  return run(browser, file, options, ['--virtual-time-budget=2000', '--dump-dom']);
}

/** A picture of the page as a PNG file. */
export function takePicture(browser: string, file: string, to: string, options: PageOptions): void {
  run(browser, file, options, [`--screenshot=${to}`]);
}
