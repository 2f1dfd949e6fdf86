// Curves and tables of a report. Without it the page shows the same figures as pictures.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 560, HEIGHT = 306, LEFT = 62, RIGHT = 24, TOP = 8, BOTTOM = 40;
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8b5cf6", "#a0522d", "#708090", "#e11d48"];
const HINT = "Point at a curve for its values, drag to zoom, double-click to see all. Buttons hide curves.";

const element = (name, attributes = {}, parent = null) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
};

const short = (x) => x.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "−");
const samples = (x) => x.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });

// Round values from low to high, some `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

// 1, 2 and 5 times powers of ten from low to high; only the powers where there are many.
function logTicks(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
    for (const m of high / low > 300 ? [1] : [1, 2, 5]) {
      if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
    }
  }
  return found;
}

// The range of the last nine tenths of the samples: the first steps are steep, and outliers hide everything else.
function view(lines) {
  const points = lines.flatMap((line) => line.points);
  const end = Math.max(...points.map((p) => p[0]), 1), start = Math.max(1, Math.min(...points.map((p) => p[0])));
  const late = points.filter((p) => p[0] >= end / 10).map((p) => p[1]).sort((a, b) => a - b);
  const at = (q) => late[Math.min(late.length - 1, Math.floor(q * late.length))] ?? 0;
  const margin = 0.1 * (at(1) - at(0.02)) || 1;
  return { x: [start, end > start ? end : start + 1], y: [at(0.02) - 2 * margin, at(1) + margin] };
}

class Chart {
  constructor(panel, colours, hidden) {
    Object.assign(this, { panel, colours, hidden });
    this.node = document.createElement("section");
    this.node.className = "chart";
    this.node.append(Object.assign(document.createElement("h3"), { textContent: panel.title }));
    this.svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${panel.title} against training samples` });
    this.output = document.createElement("output");
    this.node.append(this.svg, this.output);
    this.reset();
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => { this.output.textContent = HINT; });
    this.svg.addEventListener("pointerdown", (event) => { this.from = this.place(event); });
    this.svg.addEventListener("pointerup", (event) => this.zoom(this.place(event)));
    this.svg.addEventListener("dblclick", () => this.reset());
  }

  get lines() { return this.panel.lines.filter((line) => !this.hidden.has(line.name)); }
  get across() { return (Math.log(this.range.x[1] / this.range.x[0])) / (WIDTH - LEFT - RIGHT); }
  x(value) { return LEFT + Math.log(Math.max(value, 1e-9) / this.range.x[0]) / this.across; }
  y(value) { const [low, high] = this.range.y; return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low); }

  place(event) {
    const box = this.svg.getBoundingClientRect(), [low, high] = this.range.y;
    const px = (event.clientX - box.left) * WIDTH / box.width, py = (event.clientY - box.top) * HEIGHT / box.height;
    return { px, py, x: this.range.x[0] * Math.exp((px - LEFT) * this.across), y: high - (py - TOP) * (high - low) / (HEIGHT - TOP - BOTTOM) };
  }

  reset() {
    this.range = view(this.lines.length ? this.lines : this.panel.lines);
    this.output.textContent = HINT;
    this.draw();
  }

  zoom(to) {
    const from = this.from;
    this.from = null;
    if (!from || Math.abs(from.px - to.px) < 8 || Math.abs(from.py - to.py) < 8) return;
    const sorted = (a, b) => (a < b ? [a, b] : [b, a]);
    this.range = { x: sorted(from.x, to.x), y: sorted(from.y, to.y) };
    this.draw();
  }

  point(event) {
    const at = this.place(event);
    const near = this.lines.flatMap((line) => {
      const p = line.points.reduce((a, b) => (Math.abs(Math.log(b[0] / at.x)) < Math.abs(Math.log(a[0] / at.x)) ? b : a));
      return [{ line, p, distance: Math.abs(this.y(p[1]) - at.py) }];
    }).sort((a, b) => a.distance - b.distance).slice(0, 3);
    this.output.textContent = near.map(({ line, p }) => `${line.name}: ${short(p[1])}${p[2] ? ` ± ${short(p[2])}` : ""} at ${samples(p[0])}`).join(" · ");
  }

  draw() {
    this.svg.replaceChildren();
    const bottom = HEIGHT - BOTTOM, clip = `clip-${Chart.count = (Chart.count ?? 0) + 1}`;
    element("rect", { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: bottom - TOP }, element("clipPath", { id: clip }, this.svg));
    for (const value of ticks(...this.range.y, 5)) {
      element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: this.y(value), y2: this.y(value) }, this.svg);
      element("text", { x: LEFT - 6, y: this.y(value) + 4, "text-anchor": "end" }, this.svg).textContent = short(value);
    }
    for (const value of logTicks(...this.range.x)) {
      element("line", { class: "grid", x1: this.x(value), x2: this.x(value), y1: TOP, y2: bottom }, this.svg);
      element("text", { x: this.x(value), y: bottom + 16, "text-anchor": "middle" }, this.svg).textContent = samples(value);
    }
    element("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, this.svg).textContent = "training samples";
    const area = element("g", { "clip-path": `url(#${clip})` }, this.svg);
    for (const line of this.lines) this.curve(area, line);
  }

  curve(area, { name, points, dashed }) {
    const colour = this.colours.get(name);
    const path = (values) => values.map(([x, y]) => `${this.x(x).toFixed(1)},${this.y(y).toFixed(1)}`).join(" ");
    if (points.some((p) => p[2])) {
      const band = [...points.map((p) => [p[0], p[1] + p[2]]), ...points.toReversed().map((p) => [p[0], p[1] - p[2]])];
      element("polygon", { class: "band", fill: colour, points: path(band) }, area);
    }
    element("polyline", { class: "curve", stroke: colour, points: path(points), ...(dashed ? { "stroke-dasharray": "5 4" } : {}) }, area);
    if (points.length === 1) element("circle", { r: 3, fill: colour, cx: this.x(points[0][0]), cy: this.y(points[0][1]) }, area);
  }
}

function showCharts(node) {
  const panels = JSON.parse(node.querySelector("script").textContent), hidden = new Set();
  const names = [...new Set(panels.flatMap((panel) => panel.lines.map((line) => line.name)))];
  const groups = [...new Set(names.map((name) => name.replace(/ \((train|test)\)$/, "")))];
  const colours = new Map(names.map((name) => [name, PALETTE[groups.indexOf(name.replace(/ \((train|test)\)$/, "")) % PALETTE.length]]));
  const charts = panels.map((panel) => new Chart(panel, colours, hidden));
  const legend = Object.assign(document.createElement("ul"), { className: "legend" });
  for (const name of names) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const swatch = Object.assign(document.createElement("span"), { className: name.endsWith(" (test)") ? "swatch dashed" : "swatch" });
    swatch.style.borderColor = colours.get(name);
    button.append(swatch, name);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      for (const chart of charts) chart.reset();
    });
    const item = document.createElement("li");
    item.append(button);
    legend.append(item);
  }
  const grid = Object.assign(document.createElement("div"), { className: "charts" });
  grid.append(...charts.map((chart) => chart.node));
  node.replaceChildren(grid, legend);
}

function makeSortable(table) {
  table.querySelectorAll("th").forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const cell = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const empty = (row) => cell(row) === "";
      const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b);
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => empty(a) - empty(b) || sign * compare(cell(a), cell(b)));
      table.tBodies[0].append(...rows);
    });
  });
}

document.querySelectorAll(".curves").forEach(showCharts);
document.querySelectorAll("table").forEach(makeSortable);
