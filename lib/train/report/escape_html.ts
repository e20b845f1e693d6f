const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
// Nothing of a text may steer the page: half surrogate pairs and control characters are shown as boxes.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
const unprintable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]|\p{Surrogate}/gu;

/** Any text as text of an HTML element or attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string).replace(unprintable, '\ufffd');
}
