// A small line chart as SVG: x in steps of equal width, y from zero.
const [width, height] = [640, 360];
const margin = { left: 70, right: 20, top: 44, bottom: 52 };
const colours = ['#1b6ca8', '#c8553d', '#3a7d44', '#8d5a97'];

const escapeMarkup = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** The smallest 1, 2 or 5 times a power of ten that cuts `top` into at most five parts. */
function tickStep(top) {
  const power = 10 ** Math.floor(Math.log10(top / 5));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => top / step <= 5);
}

/** points: [{ x, series: { label: y } }]. */
export function plot({ title, axis, unit, points }) {
  const labels = Object.keys(points[0].series);
  const step = tickStep(Math.max(...points.flatMap((point) => labels.map((label) => point.series[label]))));
  const top = step * Math.ceil(Math.max(...points.flatMap((point) => labels.map((label) => point.series[label]))) / step);
  const atX = (index) => margin.left + ((index + 0.5) * (width - margin.left - margin.right)) / points.length;
  const atY = (y) => height - margin.bottom - (y / top) * (height - margin.top - margin.bottom);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${margin.left}" y="20" font-size="14">${escapeMarkup(title)}</text>`,
  ];
  for (let y = 0; y <= top + step / 2; y += step) {
    lines.push(
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${atY(y)}" y2="${atY(y)}" stroke="#ddd"/>`,
      `<text x="${margin.left - 8}" y="${atY(y) + 4}" text-anchor="end">${y}</text>`,
    );
  }
  points.forEach(({ x }, index) => {
    lines.push(`<text x="${atX(index)}" y="${height - margin.bottom + 18}" text-anchor="middle">${escapeMarkup(x)}</text>`);
  });
  lines.push(
    `<text x="${(margin.left + width - margin.right) / 2}" y="${height - 12}" text-anchor="middle">${escapeMarkup(axis)}</text>`,
    `<text transform="translate(16 ${(margin.top + height - margin.bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeMarkup(unit)}</text>`,
  );
  labels.forEach((label, index) => {
    const colour = colours[index % colours.length];
    const dots = points.map((point, at) => [atX(at), atY(point.series[label])]);
    lines.push(
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${dots.map((dot) => dot.map((v) => v.toFixed(1)).join(',')).join(' ')}"/>`,
      ...dots.map(([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3" fill="${colour}"/>`),
      `<text x="${width - margin.right - 150}" y="${34 + index * 15}" fill="${colour}">${escapeMarkup(label)}</text>`,
    );
  });
  return `${lines.join('\n')}\n</svg>\n`;
}
