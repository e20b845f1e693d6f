// Runs one measurement in a process of its own.
import { spawn } from 'node:child_process';
import os from 'node:os';

/**
 * command: words. favoured: the process gets a scheduling group of its own with the highest weight (Linux autogroup, needs root),
 * so that other work on the machine takes little from it while its own threads still share as usual.
 * Gives the driver's JSON; throws with what it wrote when it fails, dies by a signal or takes longer than `seconds`.
 */
export function runDriver(command, { seconds = 240, favoured = false, environment = {} } = {}) {
  const words = favoured ? ['sh', '-c', 'echo -20 > /proc/self/autogroup; exec "$@"', 'sh', ...command] : command;
  const load = os.loadavg()[0];
  return new Promise((resolve, reject) => {
    // detached: a session of its own, which is what the autogroup belongs to.
    const child = spawn(words[0], words.slice(1), {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      errors = (errors + chunk).slice(-2000);
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.kill(-child.pid, 'SIGKILL');
    }, seconds * 1000);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const last = output.trim().split('\n').pop();
      if (code === 0 && last) resolve({ ...JSON.parse(last), load });
      else
        reject(
          new Error(`${late ? `took more than ${seconds} s` : signal ? `ended by ${signal}` : `exit code ${code}`}\n${errors.trim()}`),
        );
    });
  });
}

/** A process that computes without pause on one core, until the returned function is called. */
export function startNeighbour(core, favoured = false) {
  const spin = ['taskset', '-c', String(core), process.execPath, '-e', 'for (;;) {}'];
  const words = favoured ? ['sh', '-c', 'echo -20 > /proc/self/autogroup; exec "$@"', 'sh', ...spin] : spin;
  const child = spawn(words[0], words.slice(1), { detached: true, stdio: 'ignore' });
  return () => process.kill(-child.pid, 'SIGKILL');
}
