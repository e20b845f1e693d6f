/** Replaced at merge. */
export function loadBinding(): unknown {
  return {};
}
