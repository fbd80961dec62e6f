// From pen strokes to an image like MNIST's: scaled to a box of 20 x 20 pixels, the centre of mass in the middle of 28 x 28.
const SIDE = 28, BOX = 20, FINE = 4; // drawn FINE times as large, and averaged

// `strokes` is a list of lists of points [x, y], `pen` the width of the line, all in the same unit. Returns 784 values from 0
// to 1, or null where nothing is drawn.
export function likeMnist(strokes, pen) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [left, top] = [0, 1].map((k) => Math.min(...points.map((point) => point[k])) - pen / 2);
  const [right, bottom] = [0, 1].map((k) => Math.max(...points.map((point) => point[k])) + pen / 2);
  const scale = BOX / Math.max(right - left, bottom - top);
  const width = Math.min(Math.max(pen * scale, 1.8), 3); // MNIST's lines are two to three pixels wide
  let shift = [SIDE / 2 - (scale * (left + right)) / 2, SIDE / 2 - (scale * (top + bottom)) / 2];
  const [x, y] = centreOfMass(render(strokes, scale, shift, width));
  shift = [shift[0] + (SIDE / 2 - x), shift[1] + (SIDE / 2 - y)];
  return render(strokes, scale, shift, width);
}

function render(strokes, scale, shift, width) {
  const canvas = new OffscreenCanvas(SIDE * FINE, SIDE * FINE), pen = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(pen, { lineWidth: width * FINE, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    const path = stroke.map(([x, y]) => [(x * scale + shift[0]) * FINE, (y * scale + shift[1]) * FINE]);
    pen.beginPath();
    pen.moveTo(...path[0]);
    for (const point of path.length > 1 ? path.slice(1) : path) pen.lineTo(...point);
    pen.stroke();
  }
  const alpha = pen.getImageData(0, 0, SIDE * FINE, SIDE * FINE).data, image = new Float32Array(SIDE * SIDE);
  for (let k = 3, place = 0; k < alpha.length; k += 4, place++) {
    const row = Math.floor(place / (SIDE * FINE) / FINE), column = Math.floor((place % (SIDE * FINE)) / FINE);
    image[row * SIDE + column] += alpha[k] / 255 / FINE ** 2;
  }
  return image;
}

function centreOfMass(image) {
  let [sum, x, y] = [0, 0, 0];
  image.forEach((value, place) => {
    sum += value;
    x += value * ((place % SIDE) + 0.5);
    y += value * (Math.floor(place / SIDE) + 0.5);
  });
  return [x / sum, y / sum];
}

// Copies of the image with a black square in each of many places.
export function covered(image, size = 7, step = 3) {
  const places = [];
  for (let top = 0; top + size <= SIDE; top += step) for (let left = 0; left + size <= SIDE; left += step) places.push([top, left]);
  const batch = new Float32Array(places.length * SIDE * SIDE);
  places.forEach(([top, left], number) => {
    const start = number * SIDE * SIDE;
    batch.set(image, start);
    for (let row = top; row < top + size; row++) batch.fill(0, start + row * SIDE + left, start + row * SIDE + left + size);
  });
  return { batch, places, size };
}
