// The page: what is drawn or chosen goes through the networks, and what they say is shown.
import * as ort from "./ort/ort.wasm.min.mjs";
import { covered, likeMnist } from "./digits.js";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that static hosts don't send
const $ = (id) => document.getElementById(id);
const about = await (await fetch("networks.json")).json();

const sessions = {};
const open = (name) => (sessions[name] ??= ort.InferenceSession.create(`networks/${name}.onnx`));

async function run(name, values, shape) {
  const session = await open(name);
  return session.run({ images: new ort.Tensor("float32", values, shape) });
}

function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

const best = (shares) => shares.indexOf(Math.max(...shares));
const percent = (share) => `${Math.round(100 * share)} %`;

function paint(canvas, values, side, colour) {
  const image = new ImageData(side, side);
  for (let k = 0; k < side * side; k++) image.data.set([...colour(values, k), 255], 4 * k);
  Object.assign(canvas, { width: side, height: side });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const grey = (values, k) => Array(3).fill(255 * values[k]);

// --- a digit ---

const paper = $("paper"), context = paper.getContext("2d");
let strokes = [], drawing = false, busy = false, waiting = false, pen = [140, 140], penDown = false;

function show() {
  context.clearRect(0, 0, paper.width, paper.height);
  Object.assign(context, { lineWidth: +$("pen").value, lineCap: "round", lineJoin: "round", strokeStyle: "white" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(...point);
    context.stroke();
  }
  if (document.activeElement === paper && paper.matches(":focus-visible")) {
    context.fillStyle = penDown ? "orange" : "grey";
    context.fillRect(pen[0] - 3, pen[1] - 3, 6, 6);
  }
}

async function read() {
  show();
  waiting = true;
  if (busy) return;
  busy = true;
  document.body.dataset.busy = "yes";
  while (waiting) {
    waiting = false;
    await readOnce();
  }
  busy = false;
  delete document.body.dataset.busy;
}

async function readOnce() {
  const image = likeMnist(strokes, +$("pen").value);
  if (!image) return forget();
  paint($("seen"), image, 28, grey);
  const out = await run("digits", image, [1, 1, 28, 28]), said = softmax(out.logits.data), digit = best(said);
  $("answer").textContent = `It reads a ${digit} (${percent(said[digit])})`;
  $("answer").dataset.digit = digit;
  said.forEach((share, k) => {
    $("bars").children[k].classList.toggle("best", k === digit);
    $("bars").children[k].lastChild.style.width = `${Math.round(160 * share)}px`;
  });
  await new Promise((done) => setTimeout(done, 100)); // what takes longer, when the pen rests
  if (waiting) return;
  showMaps(out);
  for (const [row, rung] of about.ladder.entries()) {
    const shares = softmax((await run(rung.file, image, [1, 1, 28, 28])).logits.data), cell = $("ladder").tBodies[0].rows[row].cells[2];
    cell.textContent = `${best(shares)} (${percent(shares[best(shares)])})`;
    cell.dataset.digit = best(shares);
  }
  const { batch, places, size } = covered(image), hidden = await run("ours", batch, [places.length, 1, 28, 28]);
  const shares = places.map((_, number) => softmax(hidden.logits.data.slice(10 * number, 10 * number + 10))[digit]);
  showWhere(image, said[digit], shares, places, size);
}

function forget() {
  delete $("answer").dataset.digit;
  $("answer").textContent = "Draw with mouse, finger or keys.";
  for (const bar of $("bars").children) bar.lastChild.style.width = 0;
  for (const name of ["seen", "where"]) $(name).getContext("2d").clearRect(0, 0, 28, 28);
  for (const row of $("ladder").tBodies[0].rows) row.cells[2].textContent = "";
  $("maps").replaceChildren();
}

function showWhere(image, share, shares, places, size) {
  const lost = new Float32Array(784), times = new Float32Array(784);
  places.forEach(([top, left], number) => {
    for (let row = top; row < top + size; row++) for (let column = left; column < left + size; column++) {
      lost[28 * row + column] += Math.max(share - shares[number], 0);
      times[28 * row + column] += 1;
    }
  });
  paint($("where"), image, 28, (values, k) => {
    const heat = Math.min((2 * lost[k]) / Math.max(times[k], 1), 1);
    return [255 * Math.max(values[k], heat), 255 * values[k] * (1 - heat), 255 * values[k] * (1 - heat)];
  });
}

function showMaps(out) {
  $("maps").replaceChildren(...about.blocks.map(({ name, said }) => {
    const line = document.createElement("div"), text = document.createElement("span");
    const [, channels, side] = out[name].dims, maps = out[name].data, area = side * side;
    const strength = (k) => maps.slice(k * area, k * area + area).reduce((sum, value) => sum + Math.abs(value), 0);
    const chosen = [...Array(channels).keys()].sort((a, b) => strength(b) - strength(a)).slice(0, 8);
    text.textContent = `${said}: ${channels} maps of ${side} x ${side}`;
    line.append(text, ...chosen.map((k) => {
      const map = maps.slice(k * area, k * area + area), low = Math.min(...map), high = Math.max(...map, low + 1e-6);
      const canvas = document.createElement("canvas");
      paint(canvas, map, side, (values, place) => Array(3).fill((255 * (values[place] - low)) / (high - low)));
      return canvas;
    }));
    return line;
  }));
}

const place = (event) => {
  const box = paper.getBoundingClientRect();
  return [((event.clientX - box.left) * paper.width) / box.width, ((event.clientY - box.top) * paper.height) / box.height];
};
paper.addEventListener("pointerdown", (event) => {
  paper.setPointerCapture(event.pointerId);
  drawing = true;
  strokes.push([place(event)]);
  read();
});
paper.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  strokes.at(-1).push(place(event));
  read();
});
for (const end of ["pointerup", "pointercancel"]) paper.addEventListener(end, () => (drawing = false));
const moves = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] };
paper.addEventListener("keydown", (event) => {
  if (event.key === " ") {
    penDown = !penDown;
    if (penDown) strokes.push([pen]);
  } else if (event.key in moves) {
    pen = pen.map((value, k) => Math.min(Math.max(value + moves[event.key][k], 10), 270));
    if (penDown) strokes.at(-1).push(pen);
  } else return;
  event.preventDefault();
  read();
});
$("clear").addEventListener("click", () => {
  strokes = [];
  penDown = false;
  read();
});
$("pen").addEventListener("input", read);

// --- a picture ---

async function showPicture(values, label) {
  document.body.dataset.busy = "yes";
  paint($("photo"), values, 32, (all, k) => [0, 1, 2].map((colour) => 255 * all[1024 * colour + k]));
  $("label").textContent = label === undefined ? "What they are given." : `What they are given. Its label: ${about.classes[label]}`;
  for (const [row, network] of about.pictures.entries()) {
    const shares = softmax((await run(network.file, values, [1, 3, 32, 32])).logits.data), cells = $("norms").tBodies[0].rows[row].cells;
    const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
    cells[1].textContent = about.classes[order[0]];
    cells[1].className = label !== undefined && order[0] !== label ? "wrong" : "";
    cells[2].textContent = percent(shares[order[0]]);
    cells[3].textContent = `${about.classes[order[1]]} (${percent(shares[order[1]])})`;
  }
  delete document.body.dataset.busy;
}

function fromPixels(data) {
  const values = new Float32Array(3 * 1024);
  for (let k = 0; k < 1024; k++) for (let colour = 0; colour < 3; colour++) values[1024 * colour + k] = data[4 * k + colour] / 255;
  return values;
}

$("picture").addEventListener("change", async (event) => {
  if (!event.target.files.length) return;
  const picture = await createImageBitmap(event.target.files[0]), side = Math.min(picture.width, picture.height);
  let canvas = new OffscreenCanvas(side, side);
  canvas.getContext("2d").drawImage(picture, (side - picture.width) / 2, (side - picture.height) / 2); // the middle square
  while (canvas.width >= 64) { // by halves, so that each pixel is an average
    const half = new OffscreenCanvas(Math.floor(canvas.width / 2), Math.floor(canvas.width / 2));
    half.getContext("2d").drawImage(canvas, 0, 0, half.width, half.height);
    canvas = half;
  }
  const small = new OffscreenCanvas(32, 32), brush = small.getContext("2d");
  brush.drawImage(canvas, 0, 0, 32, 32);
  showPicture(fromPixels(brush.getImageData(0, 0, 32, 32).data));
});

// --- begin ---

$("parameters").textContent = about.parameters;
for (let digit = 0; digit < 10; digit++) {
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.innerHTML = `<b>${digit}</b><i style="width:0"></i>`;
  $("bars").append(bar);
}
for (const { parameters, accuracy } of about.ladder) $("ladder").tBodies[0].insertRow().innerHTML = `<td>${parameters}</td><td>${accuracy} %</td><td></td>`;
for (const { name } of about.pictures) $("norms").tBodies[0].insertRow().innerHTML = `<td>${name}</td><td></td><td></td><td></td>`;
const bytes = Uint8Array.from(atob(about.samples), (letter) => letter.charCodeAt(0));
about.labels.forEach((label, number) => {
  const values = Float32Array.from(bytes.slice(3072 * number, 3072 * number + 3072), (value) => value / 255);
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  paint(canvas, values, 32, (all, k) => [0, 1, 2].map((colour) => 255 * all[1024 * colour + k]));
  button.append(canvas);
  button.setAttribute("aria-label", `test image: ${about.classes[label]}`);
  button.addEventListener("click", () => showPicture(values, label));
  $("samples").append(button);
});
await open("digits");
document.body.dataset.ready = "yes";
read();
