// The cases and what can be asked of them. A case is its row in the columns of `data.cases`.
const data = JSON.parse(document.getElementById('data').textContent);
const C = data.cases;
const COUNT = C.id.length;
const STATUSES = ['done', 'refused', 'failed'];
const DECISIONS = { accept: 'Accepted', exclude: 'Excluded', annotate: 'To annotate' };
const MARKS = { accept: '✓', exclude: '✕', annotate: '✎' };
const ODD_TAIL = 0.001;
const rowOf = new Map(C.id.map((id, row) => [id, row]));

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) { node.className = className; }
  if (text !== undefined) { node.textContent = text; }
  return node;
}

const byId = (id) => document.getElementById(id);
const words = (name) => name.replaceAll('_', ' ');
const number = (value, digits = 3) => (value === null ? '–' : String(Number(value.toPrecision(digits))));
const whole = (value) => value.toLocaleString('en-GB');
const plural = (count, name) => `${whole(count)} ${name}${count === 1 ? '' : 's'}`;
const isOdd = (row) => C.tail[row] !== null && C.tail[row] < ODD_TAIL;
const caseFile = (row, name) => `cases/${C.id[row]}/${name}`;

function percent(ratio) {
  const change = Math.round(100 * (ratio - 1));
  return `${change < 0 ? '−' : '+'}${Math.abs(change)} %`;
}

function tailText(tail) {
  return tail < 1e-6 ? '< 0.000001' : tail < 0.001 ? tail.toFixed(6).replace(/0+$/, '') : number(tail, 2);
}

function placeName(column) {
  const [structure, side] = data.features[column];
  const { title } = data.structures.find((item) => item.name === structure);
  return side === 'both' ? title : `${title}, ${side}`;
}

const featureName = (column) => `${placeName(column)}: ${data.features[column][2]}`;

function featureValue(row, column) {
  const value = C.values[row][column];
  return value === null ? '–' : `${number(value)} ${data.features[column][2] === 'volume' ? 'mL' : 'HU'}`;
}

// What of a measure would go with the case's other measures.
function wouldFit([, , expected]) {
  return expected === null ? '' : `, ${number(expected)} would fit`;
}

const scoreText = (score) => (score === null ? '–' : score < 10 ? score.toFixed(1) : String(Math.round(score)));

// What each case can be ordered by; a case without a value comes last in either direction.
const SORTS = [
  ['score', 'Outlier score', (row) => C.score[row]],
  ['flags', 'Number of flags', (row) => C.flags[row].length],
  ['uncertainty', 'Uncertainty', (row) => C.uncertainty[row]],
  ['height', 'Volume against height', (row) => (C.heightZ[row] === null ? null : Math.abs(C.heightZ[row]))],
  ['volume', 'Total volume', (row) => C.volume[row]],
  ['status', 'Outcome', (row) => C.status[row]],
  ['decision', 'Decision', (row) => ({ annotate: 3, exclude: 2, accept: 1 })[decisionOf(row)] || 0],
  ['id', 'Case', (row) => C.id[row]],
];

const view = {
  order: [],
  place: 0,
  sort: 'score',
  descending: true,
  text: '',
  leastScore: null,
  statuses: new Set(),
  decisions: new Set(),
  flags: new Set(),
};

const selected = () => (view.order.length ? view.order[view.place] : null);

const filtered = () => Boolean(
  view.text || view.leastScore !== null || view.statuses.size || view.decisions.size || view.flags.size
);

const haystacks = C.id.map((id, row) =>
  [id, STATUSES[C.status[row]], C.reason[row] || '', ...C.flags[row].map((flag) => words(data.flags[flag].name))]
    .join(' ').toLowerCase()
);

function isShown(row) {
  if (view.statuses.size && !view.statuses.has(C.status[row])) { return false; }
  if (view.decisions.size && !view.decisions.has(decisionOf(row) || 'none')) { return false; }
  if (view.flags.size && !C.flags[row].some((flag) => view.flags.has(flag))) { return false; }
  if (view.leastScore !== null && !(C.score[row] >= view.leastScore)) { return false; }
  return view.text.toLowerCase().split(/\s+/).every((word) => haystacks[row].includes(word));
}

// Orders the cases that pass the filters; the selected case stays selected when it is still among them.
function arrange() {
  const kept = selected();
  const key = SORTS.find(([name]) => name === view.sort)[2];
  const sign = view.descending ? -1 : 1;
  const keyed = [];
  for (let row = 0; row < COUNT; row += 1) {
    if (isShown(row)) { keyed.push([key(row), row]); }
  }
  keyed.sort(([a, rowA], [b, rowB]) => {
    if (a === b) { return rowA - rowB; }
    if (a === null || b === null) { return a === null ? 1 : -1; }
    return a < b ? -sign : sign;
  });
  view.order = keyed.map(([, row]) => row);
  view.place = Math.max(0, view.order.indexOf(kept));
}
