import { basename, extname } from 'node:path';
import { openSafetensors, type TensorInfo } from '../checkpoint/safetensors.js';
import { type Findings, formatBytes, formatDtypes, formatFacts, formatParameters, totalsOf } from './inspect_facts.js';
import { formatAmount } from './progress.js';
import { formatTable } from './table.js';

const shownTensors = 40;
const shownMetadata = 12;
const longestName = 120;

/** The tensors of a safetensors file, from its header. Throws FileFormatError that names the rule the file breaks. */
export async function inspectSafetensors(path: string, all: boolean): Promise<Findings> {
  // A file of another kind breaks these rules in ways that say little.
  const file = await openSafetensors(path, { label: extname(path) === '.safetensors' ? path : `${path}, read as safetensors` });
  try {
    const totals = totalsOf(file);
    const tensors = [...file.names()].map((name) => file.info(name) as TensorInfo).sort((a, b) => a.begin - b.begin);
    const metadata = [...file.metadata];
    const json = {
      kind: 'safetensors',
      path,
      ...totals,
      metadata: Object.fromEntries(metadata),
      list: tensors.map(({ name, dtype, shape, begin, end }) => ({ name, dtype, shape, bytes: end - begin })),
    };
    const shown = all ? tensors : tensors.slice(0, shownTensors);
    const rows = shown.map(({ name, dtype, shape, begin, end }) => [
      shorten(name),
      dtype,
      `[${shape.join(', ')}]`,
      formatAmount(end - begin, 'bytes'),
    ]);
    const hidden = tensors.length - shown.length;
    const text = [
      formatFacts(basename(path), [
        ['tensors', totals.tensors],
        ['parameters', formatParameters(totals.parameters)],
        ['dtype', formatDtypes(totals.dtypes, totals.parameters)],
        ['bytes', formatBytes(totals.bytes)],
        ...metadata.slice(0, shownMetadata).map(([key, value]) => [`metadata ${shorten(key)}`, shorten(value)] as const),
        ['metadata', metadata.length > shownMetadata ? `and ${metadata.length - shownMetadata} more` : undefined],
      ]),
      '',
      formatTable(rows, {
        header: ['tensor', 'dtype', 'shape', 'bytes'],
        align: ['left', 'left', 'left', 'right'],
        maxWidth: process.stdout.columns,
      }),
      ...(hidden > 0 ? [`… and ${hidden.toLocaleString('en-US')} more: --all shows them`] : []),
    ];
    return { json, text: text.join('\n') };
  } finally {
    file.dispose();
  }
}

const shorten = (text: string): string => (text.length > longestName ? `${text.slice(0, longestName - 1)}…` : text);
