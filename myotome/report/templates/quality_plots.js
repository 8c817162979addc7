// Two plots in which the selected case is marked: the scores of all cases, and volume against height.
const BINS = 48;
const COLOURS = { bar: '#8ea3bd', odd: '#c4553f', pick: '#0b57d0', F: '#9a4f96', M: '#3f7f7a', other: '#7a828c', line: '#b6bdc6', text: '#57606a' };
const MARGIN = { left: 30, right: 8, top: 6, bottom: 16 };
const histogram = { canvas: byId('histogram'), bins: [], low: 0, step: 1 };
const scatter = { canvas: byId('scatter'), points: [] };

const nice = (value) => (value >= 1000 ? `${number(value / 1000, 2)} L` : `${Math.round(value)}`);

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = '10px system-ui, sans-serif';
  pen.fillStyle = COLOURS.text;
  return [pen, width, height];
}

// Bins on a logarithmic axis, as distances have a long tail.
function fillHistogram() {
  const scores = C.score.map((score, row) => [score, row]).filter(([score]) => score > 0);
  if (!scores.length) { return; }
  const logs = scores.map(([score]) => Math.log(score));
  histogram.low = logs.reduce((a, b) => Math.min(a, b));
  histogram.step = Math.max(1e-6, (logs.reduce((a, b) => Math.max(a, b)) - histogram.low) / BINS);
  histogram.bins = Array.from({ length: BINS }, () => [0, 0]);
  for (const [score, row] of scores) { histogram.bins[binOf(score)][isOdd(row) ? 1 : 0] += 1; }
}

const binOf = (score) => Math.min(BINS - 1, Math.max(0, Math.floor((Math.log(score) - histogram.low) / histogram.step)));

function drawHistogram() {
  const [pen, width, height] = prepare(histogram.canvas);
  if (!histogram.bins.length) { byId('histogram-text').textContent = data.method === 'none' ? data.methodSentence : ''; return; }
  const base = height - MARGIN.bottom;
  const each = (width - 12) / BINS;
  const most = Math.max(...histogram.bins.map(([plain, odd]) => plain + odd));
  const tall = (count) => (count ? Math.max(1.5, (base - 10) * Math.sqrt(count / most)) : 0);
  histogram.bins.forEach(([plain, odd], bin) => {
    const x = 6 + bin * each;
    pen.fillStyle = plain ? COLOURS.bar : COLOURS.odd;
    pen.fillRect(x, base - tall(plain + odd), each - 1, tall(plain + odd));
    if (plain && odd) {
      const part = tall(plain + odd) * odd / (plain + odd);
      pen.fillStyle = COLOURS.odd;
      pen.fillRect(x, base - tall(plain + odd), each - 1, part);
    }
  });
  pen.fillStyle = COLOURS.text;
  for (const tick of [0.5, 1, 2, 4, 8, 16, 32]) {
    const x = 6 + (Math.log(tick) - histogram.low) / histogram.step * each;
    if (x > 4 && x < width - 8) { pen.fillText(String(tick), x - 4, height - 4); }
  }
  const row = selected();
  if (row !== null && C.score[row] > 0) {
    const x = 6 + (Math.log(C.score[row]) - histogram.low) / histogram.step * each;
    pen.fillStyle = COLOURS.pick;
    pen.fillRect(Math.min(width - 8, x) - 1, 0, 2, base);
  }
  const odd = C.tail.filter((tail) => tail !== null && tail < ODD_TAIL).length;
  byId('histogram-text').textContent = `${plural(odd, 'case')} ▲ with a tail below 0.001`;
}

function fillScatter() {
  scatter.points = [];
  for (let row = 0; row < COUNT; row += 1) {
    if (C.height[row] !== null && C.volume[row] !== null) { scatter.points.push(row); }
  }
  const range = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  if (scatter.points.length) {
    scatter.x = range(scatter.points.map((row) => C.height[row]));
    scatter.y = range(scatter.points.map((row) => C.volume[row]));
  }
}

function placeOf(row, width, height) {
  const across = (width - MARGIN.left - MARGIN.right) / Math.max(1e-9, scatter.x[1] - scatter.x[0]);
  const along = (height - MARGIN.top - MARGIN.bottom) / Math.max(1e-9, scatter.y[1] - scatter.y[0]);
  return [MARGIN.left + (C.height[row] - scatter.x[0]) * across, height - MARGIN.bottom - (C.volume[row] - scatter.y[0]) * along];
}

function drawScatter() {
  const [pen, width, height] = prepare(scatter.canvas);
  if (!scatter.points.length) { byId('scatter-text').textContent = 'No case has both a height and all volumes.'; return; }
  pen.fillText(nice(scatter.y[1]), 0, MARGIN.top + 6);
  pen.fillText(nice(scatter.y[0]), 0, height - MARGIN.bottom);
  pen.fillText(`${scatter.x[0].toFixed(2)} m`, MARGIN.left, height - 3);
  pen.fillText(`${scatter.x[1].toFixed(2)} m`, width - 36, height - 3);
  pen.globalAlpha = scatter.points.length > 500 ? 0.45 : 0.8;
  for (const row of scatter.points) {
    const [x, y] = placeOf(row, width, height);
    pen.fillStyle = COLOURS[C.sex[row]] || COLOURS.other;
    if (C.sex[row] === 'F') { pen.fillRect(x - 1.2, y - 1.2, 2.4, 2.4); } else { pen.beginPath(); pen.arc(x, y, 1.4, 0, 7); pen.fill(); }
  }
  pen.globalAlpha = 1;
  const row = selected();
  if (row !== null && C.height[row] !== null && C.volume[row] !== null) {
    const [x, y] = placeOf(row, width, height);
    pen.strokeStyle = COLOURS.pick;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 5, 0, 7);
    pen.stroke();
  }
  byId('scatter-text').textContent = '■ women  ● men';
}

function drawPlots() {
  drawHistogram();
  drawScatter();
}

histogram.canvas.addEventListener('click', (event) => {
  if (!histogram.bins.length) { return; }
  const each = (histogram.canvas.clientWidth - 12) / BINS;
  const bin = Math.max(0, Math.min(BINS - 1, Math.floor((event.offsetX - 6) / each)));
  view.leastScore = bin ? Math.exp(histogram.low + bin * histogram.step) : null;
  refilter();
});
scatter.canvas.addEventListener('click', (event) => {
  const { clientWidth, clientHeight } = scatter.canvas;
  let best = [Infinity, null];
  for (const row of scatter.points) {
    const [x, y] = placeOf(row, clientWidth, clientHeight);
    const away = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
    if (away < best[0]) { best = [away, row]; }
  }
  if (best[1] !== null) { selectRow(best[1]); }
});
