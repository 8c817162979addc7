// The grid: only the cards that can be seen, and a few around them, are in the document.
const GAP = 10;
const NARROWEST = 300;
const WORDS_PX = 96;
const OVERSCAN_ROWS = 2;
const grid = byId('grid');
const room = byId('room');
const cards = new Map();  // place in the order -> card
const layout = { columns: 1, width: NARROWEST, height: 220 };

function measureGrid() {
  const width = grid.clientWidth - GAP;
  layout.columns = Math.max(1, Math.floor(width / (NARROWEST + GAP)));
  layout.width = Math.floor(width / layout.columns) - GAP;
  layout.height = Math.round(layout.width * 128 / 288) + WORDS_PX;
}

function renewGrid() {
  measureGrid();
  for (const card of cards.values()) { card.remove(); }
  cards.clear();
  const rows = Math.ceil(view.order.length / layout.columns);
  room.style.height = `${rows * (layout.height + GAP) + GAP}px`;
  if (byId('empty')) { byId('empty').remove(); }
  if (!view.order.length) {
    const empty = element('p', 'empty', COUNT ? 'No case passes these filters.' : 'This cohort has no case yet.');
    empty.id = 'empty';
    grid.append(empty);
  }
  drawGrid();
}

function drawGrid() {
  const step = layout.height + GAP;
  const first = Math.max(0, Math.floor(grid.scrollTop / step) - OVERSCAN_ROWS) * layout.columns;
  const lastRow = Math.ceil((grid.scrollTop + grid.clientHeight) / step) + OVERSCAN_ROWS;
  const last = Math.min(view.order.length, lastRow * layout.columns);
  for (const [place, card] of cards) {
    if (place < first || place >= last) {
      card.remove();
      cards.delete(place);
    }
  }
  for (let place = first; place < last; place += 1) {
    if (!cards.has(place)) {
      const card = makeCard(place);
      cards.set(place, card);
      room.append(card);
    }
  }
  markSelected();
}

function makeCard(place) {
  const row = view.order[place];
  const card = element('div', 'card');
  card.id = `card-${C.id[row]}`;
  card.setAttribute('role', 'option');
  card.setAttribute('aria-posinset', place + 1);
  card.setAttribute('aria-setsize', view.order.length);
  card.dataset.place = place;
  const left = GAP + (place % layout.columns) * (layout.width + GAP);
  const top = GAP + Math.floor(place / layout.columns) * (layout.height + GAP);
  Object.assign(card.style, {
    transform: `translate(${left}px, ${top}px)`, width: `${layout.width}px`, height: `${layout.height}px`,
  });
  const thumb = makeThumb(row);
  thumb.style.height = `${layout.height - WORDS_PX}px`;
  card.append(thumb, makeWords(row));
  return card;
}

// The picture, which leads to the report; or, without one, why the case has none.
function makeThumb(row) {
  if (C.status[row] !== 0) {
    const box = element('div', 'thumb none');
    box.append(element('b', '', STATUSES[C.status[row]].replace(/^./, (letter) => letter.toUpperCase())), C.reason[row] || '');
    return box;
  }
  const link = element('a', 'thumb');
  Object.assign(link, { href: caseFile(row, 'report.html'), target: 'myotome-report', rel: 'noopener', tabIndex: -1 });
  link.title = 'Open the report (Enter)';
  const image = element('img');
  Object.assign(image, { decoding: 'async', alt: `Axial and coronal plane of case ${C.id[row]}`, src: caseFile(row, 'thumbnail.webp') });
  image.addEventListener('error', () => {
    link.classList.add('none');
    link.replaceChildren('No thumbnail; the report is here.');
  });
  link.append(image);
  return link;
}

function makeBadge(row) {
  const decision = decisionOf(row);
  if (!decision) { return ''; }
  const unsaved = served && decided.get(row).unsaved;
  return element('span', `badge ${decision}${unsaved ? ' unsaved' : ''}`, `${MARKS[decision]} ${DECISIONS[decision]}`);
}

function makeFigure(name, value, odd) {
  const figure = element('span', odd ? 'odd' : '', `${name} `);
  figure.append(element('b', '', value), odd ? ' ▲' : '');
  return figure;
}

function makeWords(row) {
  const box = element('div', 'words');
  const lines = [0, 1, 2, 3].map(() => element('div', 'line'));
  lines[0].append(element('span', 'id', C.id[row]), makeBadge(row));
  lines[1].classList.add('figures');
  if (C.status[row] === 0) {
    const ratio = C.heightRatio[row];
    lines[1].append(
      makeFigure('Score', scoreText(C.score[row]), isOdd(row)),
      makeFigure('Vol/ht', ratio === null ? '–' : percent(ratio), Math.abs(C.heightZ[row]) > 3),
      makeFigure('Unc.', number(C.uncertainty[row], 2), false),
    );
    const driver = C.drivers[row][0];
    const why = driver ? `${placeName(driver[0])}: ${featureValue(row, driver[0])}${driver[2] === null ? '' : ` (${number(driver[2])} would fit)`}` : '';
    lines[2].title = why;
    lines[2].append(element('span', 'quiet', why));
    lines[1].title = 'Outlier score; volume against height; uncertainty';
  }
  const names = C.flags[row].map((flag) => words(data.flags[flag].name));
  lines[3].append(element('span', 'flagged', names.length ? `⚑ ${names.join(' · ')}` : ''));
  lines[3].title = names.join('\n');
  box.append(...lines);
  return box;
}

function markSelected() {
  for (const [place, card] of cards) { card.setAttribute('aria-selected', place === view.place); }
  const card = cards.get(view.place);
  if (card) { grid.setAttribute('aria-activedescendant', card.id); } else { grid.removeAttribute('aria-activedescendant'); }
}

function showSelected() {
  const step = layout.height + GAP;
  const top = Math.floor(view.place / layout.columns) * step;
  if (top < grid.scrollTop) { grid.scrollTop = top; }
  const low = top + step + GAP - grid.clientHeight;
  if (low > grid.scrollTop) { grid.scrollTop = low; }
  drawGrid();
}

// Draws one case's card anew where it is seen, as after a decision.
function redrawCard(row) {
  for (const [place, card] of cards) {
    if (view.order[place] === row) { card.lastElementChild.replaceWith(makeWords(row)); }
  }
}

let scrolling = false;
grid.addEventListener('scroll', () => {
  if (!scrolling) {
    scrolling = true;
    requestAnimationFrame(() => { scrolling = false; drawGrid(); });
  }
});
grid.addEventListener('click', (event) => {
  const card = event.target.closest('.card');
  if (card) { select(Number(card.dataset.place)); }
});
