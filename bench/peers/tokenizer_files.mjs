// A byte-level tokenizer small enough to write by hand: 3 control tokens, 256 bytes, one merge, and fillers that no text reaches.

const controls = ['<unk>', '<s>', '</s>'];

/** The printable stand-ins that byte-level BPE gives the 256 bytes. */
function byteCharacters() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

export function vocabularyOf(size) {
  const tokens = [...controls, ...byteCharacters(), 'he'];
  if (size < tokens.length) throw new Error(`a vocabulary of ${size} is too small: ${tokens.length} tokens are needed`);
  while (tokens.length < size) tokens.push(`<filler_${tokens.length}>`);
  return tokens;
}

const addedToken = (id, content) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });

export function tokenizerJson(size) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: controls.map((content, id) => addedToken(id, content)),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocabularyOf(size).map((token, id) => [token, id])),
      merges: [['h', 'e']],
    },
  };
}

export const tokenizerConfig = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  bos_token: '<s>',
  eos_token: '</s>',
  unk_token: '<unk>',
  add_bos_token: false,
  clean_up_tokenization_spaces: false,
};

/** The same tokenizer as GGUF metadata. Token types: 1 normal, 3 control, 5 unused. */
export function tokenizerMetadata(size) {
  const tokens = vocabularyOf(size);
  const types = tokens.map((token, id) => (id < controls.length ? 3 : token.startsWith('<filler_') ? 5 : 1));
  return [
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'gpt-2'],
    ['tokenizer.ggml.tokens', 'array', 'string', tokens],
    ['tokenizer.ggml.token_type', 'array', 'i32', types],
    ['tokenizer.ggml.merges', 'array', 'string', ['h e']],
    ['tokenizer.ggml.bos_token_id', 'u32', 1],
    ['tokenizer.ggml.eos_token_id', 'u32', 2],
    ['tokenizer.ggml.unknown_token_id', 'u32', 0],
    ['tokenizer.ggml.add_bos_token', 'bool', false],
  ];
}
