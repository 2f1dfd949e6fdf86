// A map of the latent space: the decoded picture at the marked point, and the training data nearest to it.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const map = document.querySelector(".map"), picture = document.querySelector(".picture");
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8b5cf6", "#a0522d", "#708090", "#e11d48"];
const NEIGHBOURS = 5;
const axes = data.low.length;
// As in other pictures: images of few pixels are enlarged smoothly.
const smooth = Math.max(data.table.width, data.table.height) <= 16;
// Where the mark is on each axis, in steps of the table: 0 is the low end.
const at = data.counts.map((count) => (count - 1) / 2);

// The sheets hold `columns` pictures of `width` x `height` pixels a row.
function load(sheet) {
  const image = new Image();
  image.src = `data:image/png;base64,${sheet.png}`;
  return image.decode().then(() => image);
}

function paste(context, image, sheet, index, width, height) {
  const x = (index % sheet.columns) * sheet.width, y = Math.floor(index / sheet.columns) * sheet.height;
  context.drawImage(image, x, y, sheet.width, sheet.height, 0, 0, width, height);
}

const value = (axis) => data.low[axis] + at[axis] * (data.high[axis] - data.low[axis]) / Math.max(1, data.counts[axis] - 1);

// The pictures of the table around the mark, with their weights: linear interpolation along every axis.
function corners() {
  let found = [{ index: 0, weight: 1 }];
  for (let axis = 0; axis < axes; axis++) {
    const below = Math.min(Math.floor(at[axis]), Math.max(0, data.counts[axis] - 2)), share = at[axis] - below;
    found = found.flatMap(({ index, weight }) => [
      { index: index * data.counts[axis] + below, weight: weight * (1 - share) },
      { index: index * data.counts[axis] + Math.min(below + 1, data.counts[axis] - 1), weight: weight * share },
    ]);
  }
  return found.filter(({ weight }) => weight > 1e-6);
}

function nearest() {
  const mark = data.low.map((_, axis) => value(axis));
  const z = data.centre.map((c, d) => c + data.directions.reduce((sum, direction, axis) => sum + direction[d] * mark[axis], 0));
  return data.means
    .map((mean, index) => ({ index, distance: Math.hypot(...mean.map((m, d) => m - z[d])) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, NEIGHBOURS);
}

function drawMap() {
  const context = map.getContext("2d"), size = map.width;
  const x = (v) => (v - data.low[0]) / (data.high[0] - data.low[0]) * size;
  const y = (v) => axes > 1 ? size - (v - data.low[1]) / (data.high[1] - data.low[1]) * size : size / 2;
  context.clearRect(0, 0, size, size);
  data.points.forEach((point, index) => {
    context.fillStyle = data.labels ? COLOURS[data.labels[index] % COLOURS.length] : COLOURS[0];
    context.globalAlpha = 0.7;
    context.beginPath();
    context.arc(x(point[0]), y(point[1] ?? 0), 3, 0, 2 * Math.PI);
    context.fill();
  });
  context.globalAlpha = 1;
  context.strokeStyle = getComputedStyle(document.body).color;
  context.lineWidth = 2;
  context.strokeRect(x(value(0)) - 6, (axes > 1 ? y(value(1)) : size / 2) - 6, 12, 12);
}

function drawPicture(image) {
  const sum = new Float32Array(data.table.width * data.table.height * 4);
  const small = new OffscreenCanvas(data.table.width, data.table.height), context = small.getContext("2d", { willReadFrequently: true });
  for (const { index, weight } of corners()) {
    paste(context, image, data.table, index, small.width, small.height);
    context.getImageData(0, 0, small.width, small.height).data.forEach((v, i) => { sum[i] += weight * v; });
  }
  context.putImageData(new ImageData(Uint8ClampedArray.from(sum), small.width, small.height), 0, 0);
  const target = picture.getContext("2d");
  target.imageSmoothingEnabled = smooth;
  target.imageSmoothingQuality = "high";
  target.drawImage(small, 0, 0, picture.width, picture.height);
}

function drawNeighbours(image) {
  const list = document.querySelector(".neighbours");
  list.replaceChildren(...nearest().map(({ index, distance }) => {
    const item = document.createElement("li"), canvas = document.createElement("canvas");
    canvas.width = data.examples.width;
    canvas.height = data.examples.height;
    canvas.style.width = "56px";
    canvas.style.imageRendering = smooth ? "auto" : "pixelated";
    paste(canvas.getContext("2d"), image, data.examples, index, canvas.width, canvas.height);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `training datapoint at distance ${distance.toFixed(2)}`);
    item.append(canvas, document.createElement("br"), data.exampleLabels ? `${data.exampleLabels[index]}` : distance.toFixed(2));
    return item;
  }));
  document.querySelector("output").textContent = data.names.map((name, axis) => `${name} = ${value(axis).toFixed(2)}`).join(", ");
}

Promise.all([load(data.table), load(data.examples)]).then(([table, examples]) => {
  picture.height = Math.round(picture.width * data.table.height / data.table.width) || 1;
  const draw = () => { drawMap(); drawPicture(table); drawNeighbours(examples); };
  const move = (axis, to) => { at[axis] = Math.max(0, Math.min(data.counts[axis] - 1, to)); };

  for (const label of data.labels ? [...new Set(data.labels)].sort((a, b) => a - b) : []) {
    const item = document.createElement("li"), swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.borderColor = COLOURS[label % COLOURS.length];
    item.append(swatch, String(label));
    document.querySelector(".legend").append(item);
  }
  for (let axis = 2; axis < axes; axis++) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: data.counts[axis] - 1, step: 0.05, value: at[axis] });
    input.addEventListener("input", () => { move(axis, Number(input.value)); draw(); });
    label.append(`${data.names[axis]} `, input);
    document.querySelector(".sliders").append(label);
  }
  map.addEventListener("pointermove", (event) => {
    const box = map.getBoundingClientRect();
    move(0, (event.clientX - box.left) / box.width * (data.counts[0] - 1));
    if (axes > 1) move(1, (1 - (event.clientY - box.top) / box.height) * (data.counts[1] - 1));
    draw();
  });
  map.addEventListener("keydown", (event) => {
    const [axis, by] = { ArrowLeft: [0, -0.25], ArrowRight: [0, 0.25], ArrowDown: [1, -0.25], ArrowUp: [1, 0.25] }[event.key] ?? [];
    if (axis === undefined || axis >= axes) return;
    event.preventDefault();
    move(axis, at[axis] + by);
    draw();
  });
  draw();
  document.body.dataset.ready = "true";
});
