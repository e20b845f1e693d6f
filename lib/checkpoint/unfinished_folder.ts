import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from './make_folder.js';

/** A folder that is being filled: what fails on the way can take back what was made, and nothing else. */
export class UnfinishedFolder {
  private readonly files: string[] = [];

  private constructor(
    readonly path: string,
    private readonly made: readonly string[],
  ) {}

  /** Makes the folder where it is not there yet. Throws FileAccessError. */
  static async open(path: string): Promise<UnfinishedFolder> {
    return new UnfinishedFolder(path, await makeFolder(path));
  }

  /** The path of a file that is about to be written. */
  file(name: string): string {
    const path = join(this.path, name);
    this.files.push(path);
    return path;
  }

  /** Removes its files, and the folders that were made for them unless something else has come into them. */
  async discard(): Promise<void> {
    for (const file of this.files) await unlink(file).catch(() => {});
    for (const folder of [...this.made].reverse()) await rmdir(folder).catch(() => {});
  }
}
