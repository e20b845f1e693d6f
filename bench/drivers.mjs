// The command line of every engine for a job: { job, shape, batch, adapters, rank, steps, prompt, threads, repeats, arrangement }.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildLlamaC, libraryFolder } from './peers/build_llama_c.mjs';
import { filesOf } from './peers/shapes.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const torchPython = process.env.HEDDLE_TORCH_PYTHON;
const hasLlama = fs.existsSync(path.join(here, 'peers', 'node_modules', 'node-llama-cpp'));

function flags(job, adapterPath) {
  const { shape: _shape, rank, adapters = 0, profile, loop, plain, ...others } = job;
  const words = Object.entries(others).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const paths = Array.from({ length: adapters }, (_, index) => adapterPath(rank ?? 16, index));
  if (paths.length > 0) words.push('--adapters', paths.join(','));
  for (const [name, on] of Object.entries({ profile, loop, plain })) if (on) words.push(`--${name}`);
  return words;
}

/** name → { title, missing (why it cannot run here, or undefined), command(job) }. */
export const drivers = {
  heddle: {
    title: 'heddle',
    missing: fs.existsSync(path.join(here, '..', 'dist', 'lib', 'index.js')) ? undefined : 'not built: npm run build',
    command: (job) => {
      const files = filesOf(job.shape);
      return [process.execPath, path.join(here, 'heddle.mjs'), '--model', files.huggingFace, ...flags(job, files.adapter)];
    },
  },
  llamaC: {
    title: 'llama.cpp, C library',
    missing: hasLlama ? undefined : 'npm install in bench/peers',
    command: (job) => {
      const files = filesOf(job.shape);
      return [buildLlamaC(), '--libraries', libraryFolder, '--model', files.gguf, ...flags(job, files.adapterGguf)];
    },
  },
  nodeLlama: {
    title: 'node-llama-cpp',
    missing: hasLlama ? undefined : 'npm install in bench/peers',
    command: (job) => {
      const files = filesOf(job.shape);
      return [process.execPath, path.join(here, 'peers', 'node_llama_cpp.mjs'), '--model', files.gguf, ...flags(job, files.adapterGguf)];
    },
  },
  torch: {
    title: 'PyTorch, transformers, PEFT',
    missing: torchPython ? undefined : 'set HEDDLE_TORCH_PYTHON to a python with torch, transformers and peft',
    command: (job) => {
      const files = filesOf(job.shape);
      return [torchPython, path.join(here, 'peers', 'torch_llama.py'), '--model', files.huggingFace, ...flags(job, files.adapter)];
    },
  },
  heddleTraining: {
    title: 'heddle',
    get missing() {
      return drivers.heddle.missing;
    },
    command: (job) => [process.execPath, path.join(here, 'training.mjs'), ...trainingFlags(job)],
  },
  torchTraining: {
    title: 'PyTorch with PEFT',
    get missing() {
      return drivers.torch.missing;
    },
    command: (job) => [torchPython, path.join(here, 'peers', 'torch_training.py'), ...trainingFlags(job)],
  },
};

// A step is a repeat.
function trainingFlags({ shape, repeats: _repeats, ...plain }) {
  return ['--model', filesOf(shape).huggingFace, ...Object.entries(plain).flatMap(([name, value]) => [`--${name}`, String(value)])];
}
