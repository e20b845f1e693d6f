/** Style of the report, in light and dark. */
export const styleSheet = `
:root { color-scheme: light dark; --ground: #ffffff; --card: #f6f7f9; --ink: #1b1f24; --quiet: #57606a; --line: #d5dae1;
  --c0: #0b62c4; --c1: #c4400b; --c2: #0a7d4f; --c3: #8a3fc4; --c4: #9a6700; --c5: #007c89; --c6: #c2185b; --c7: #56660a; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --card: #1d2127; --ink: #e6e9ee; --quiet: #9aa4b1; --line: #363d47;
    --c0: #6cb0ff; --c1: #ff9466; --c2: #5fd3a0; --c3: #c99aff; --c4: #f0bd4f; --c5: #5ccfdd; --c6: #ff86b3; --c7: #bccf5b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; }
h3 { font-size: 1rem; margin: 20px 0 8px; overflow-wrap: anywhere; }
.quiet, .empty, figcaption { color: var(--quiet); margin: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 24px 0 0; }
.facts div { background: var(--card); border-radius: 8px; padding: 12px 14px; min-width: 0; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: 14px; }
svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; padding: 0; list-style: none; font-size: .9rem; }
.legend li { overflow-wrap: anywhere; min-width: 0; }
.legend i { display: inline-block; width: 18px; border-top: 3px solid var(--own); margin-right: 8px; vertical-align: middle; }
.legend i.dashed { border-top-style: dashed; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--quiet); stroke-width: 1; }
.tick, .label { fill: var(--quiet); font-size: 12px; font-family: inherit; }
.line { fill: none; stroke: var(--own); stroke-width: 2; stroke-linejoin: round; }
.faint { opacity: .3; stroke-width: 1; }
.dashed { stroke-dasharray: 6 4; }
.dot { fill: var(--own); }
${Array.from({ length: 8 }, (_, i) => `.c${i} { --own: var(--c${i}); }`).join('\n')}
@media (max-width: 600px) { .tick, .label { font-size: 17px; } }
.scroll { overflow-x: auto; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; }
td:first-child { min-width: 7em; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
blockquote { margin: 0 0 12px; background: var(--card); border-radius: 8px; padding: 12px 14px; }
blockquote p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
blockquote p + p { margin-top: 10px; }
.prompt { color: var(--quiet); }
.who { display: block; font-size: .8rem; font-weight: 600; color: var(--own, var(--quiet)); }
details { margin-top: 10px; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border-radius: 8px; padding: 14px; font-size: .85rem; margin: 0; }
`;
