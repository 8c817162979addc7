// What the reader does: selecting, deciding, sorting, filtering, keys.
let messageTimer = 0;

function say(text) {
  const box = byId('message');
  box.textContent = text;
  box.hidden = false;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => { box.hidden = true; }, 7000);
}

function select(place) {
  if (!view.order.length) { return; }
  view.place = Math.max(0, Math.min(view.order.length - 1, place));
  showSelected();
  drawCase();
  drawPlots();
  drawCount();
}

function selectRow(row) {
  if (!view.order.includes(row)) { clearFilters(); }
  select(view.order.indexOf(row));
}

function choose(decision) {
  const row = selected();
  if (row === null || !decide(row, decision, byId('note').value.trim())) { return; }
  redrawCard(row);
  drawSummary();
  if (view.place + 1 < view.order.length) { select(view.place + 1); } else { drawCase(); say('That was the last case in this order.'); }
}

function takeBack() {
  const row = undo();
  if (row === null) { return; }
  redrawCard(row);
  drawSummary();
  selectRow(row);
}

// After the server's answer: cards, counts and the panel, unless a note is being written there.
function redraw() {
  for (const row of new Set([...cards.keys()].map((place) => view.order[place]))) { redrawCard(row); }
  drawSummary();
  if (document.activeElement !== byId('note')) { drawCase(); }
}

function refilter() {
  arrange();
  grid.scrollTop = 0;
  renewGrid();
  drawSummary();
  select(view.place);
}

function clearFilters() {
  Object.assign(view, { text: '', leastScore: null });
  for (const chosen of [view.statuses, view.decisions, view.flags]) { chosen.clear(); }
  byId('find').value = '';
  refilter();
}

function openReport() {
  const row = selected();
  if (row === null) { return; }
  if (C.status[row] === 0) { window.open(caseFile(row, 'report.html'), 'myotome-report', 'noopener'); } else { say(`A case that was ${STATUSES[C.status[row]]} has no report.`); }
}

function togglePicture() {
  const large = byId('picture').hidden;
  byId('picture').hidden = !large;
  grid.hidden = large;
  byId('view').setAttribute('aria-pressed', large);
  if (!large) { renewGrid(); showSelected(); grid.focus({ preventScroll: true }); }
  drawCase();
}

function makeChip(text, count, chosen, value, colour) {
  const chip = element('button', 'chip');
  chip.type = 'button';
  if (colour) {
    const dot = element('i');
    dot.style.background = colour;
    chip.append(dot);
  }
  chip.append(`${text} `, element('b', '', whole(count)));
  chip.setAttribute('aria-pressed', chosen.has(value));
  chip.addEventListener('click', () => {
    if (!chosen.delete(value)) { chosen.add(value); }
    refilter();
  });
  return chip;
}

function tally(keys) {
  const counts = new Map();
  for (const key of keys) { counts.set(key, (counts.get(key) || 0) + 1); }
  return counts;
}

function fillChips(id, chips) {
  const box = byId(id);
  const at = [...box.children].indexOf(document.activeElement);
  box.replaceChildren(...chips);
  if (at >= 0 && box.children[at]) { box.children[at].focus(); }
}

const DECISION_COLOURS = { accept: '#1a6b3c', exclude: '#a1260d', annotate: '#1f4fa3', none: '#dfe3e8' };
const flagCounts = tally(C.flags.flat());
const statusCounts = tally(C.status);

function drawSummary() {
  const counts = tally(C.id.map((id, row) => decisionOf(row) || 'none'));
  const kinds = [...Object.entries(DECISIONS), ['none', 'Undecided']];
  byId('stack').replaceChildren(...kinds.slice(0, 3).map(([decision]) => {
    const part = element('i');
    Object.assign(part.style, { width: `${100 * (counts.get(decision) || 0) / Math.max(1, COUNT)}%`, background: DECISION_COLOURS[decision] });
    return part;
  }));
  fillChips('decisions', kinds.map(([decision, title]) => makeChip(title, counts.get(decision) || 0, view.decisions, decision, DECISION_COLOURS[decision])));
  fillChips('statuses', STATUSES.map((status, index) => makeChip(status.replace(/^./, (letter) => letter.toUpperCase()), statusCounts.get(index) || 0, view.statuses, index)));
  const flags = [...flagCounts].sort((a, b) => b[1] - a[1]);
  fillChips('flags', flags.map(([flag, count]) => {
    const chip = makeChip(words(data.flags[flag].name), count, view.flags, flag);
    chip.title = data.flags[flag].meaning;
    return chip;
  }));
  if (!flags.length) { byId('flags').textContent = 'No case carries a flag.'; }
  byId('limit').textContent = view.leastScore === null ? '' : `score ≥ ${number(view.leastScore, 2)}`;
  byId('clear').hidden = !filtered();
  byId('direction').textContent = view.descending ? '↓ highest first' : '↑ lowest first';
}

function drawCount() {
  const shown = view.order.length;
  const all = shown === COUNT ? plural(COUNT, 'case') : `${whole(shown)} of ${plural(COUNT, 'case')}`;
  byId('count').textContent = shown ? `${whole(view.place + 1)} / ${all}` : all;
}

const screenful = () => Math.max(1, Math.floor(grid.clientHeight / (layout.height + GAP))) * layout.columns;
const acrossOr = (columns) => (grid.hidden ? 1 : columns);
const KEYS = {
  j: () => select(view.place + 1),
  k: () => select(view.place - 1),
  ArrowRight: () => select(view.place + 1),
  ArrowLeft: () => select(view.place - 1),
  ArrowDown: () => select(view.place + acrossOr(layout.columns)),
  ArrowUp: () => select(view.place - acrossOr(layout.columns)),
  PageDown: () => select(view.place + acrossOr(screenful())),
  PageUp: () => select(view.place - acrossOr(screenful())),
  Home: () => select(0),
  End: () => select(view.order.length - 1),
  a: () => choose('accept'),
  x: () => choose('exclude'),
  s: () => choose('annotate'),
  u: takeBack,
  n: () => byId('note') && byId('note').focus(),
  ' ': togglePicture,
  Enter: openReport,
  '/': () => byId('find').select(),
  '?': () => byId('help').showModal(),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) { return; }
  const target = event.target;
  if (target.matches('input, select, textarea')) {
    if (event.key === 'Escape' || (event.key === 'Enter' && target.matches('input'))) { grid.hidden ? panel.focus() : grid.focus(); }
    return;
  }
  // A button or a link keeps the keys that press it.
  if (target.matches('button, a') && [' ', 'Enter'].includes(event.key)) { return; }
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

byId('sort').append(...SORTS.map(([name, title]) => Object.assign(element('option', '', title), { value: name })));
byId('sort').addEventListener('change', (event) => {
  view.sort = event.target.value;
  view.descending = view.sort !== 'id';
  view.place = 0;
  refilter();
  select(0);
  // A reader with a mouse goes on with the keys; one who came by the keyboard stays where they are.
  if (pointed) { grid.focus({ preventScroll: true }); }
});
let pointed = false;
byId('sort').addEventListener('pointerdown', () => { pointed = true; });
byId('sort').addEventListener('keydown', () => { pointed = false; });
byId('direction').addEventListener('click', () => { view.descending = !view.descending; refilter(); select(0); });
byId('find').addEventListener('input', (event) => { view.text = event.target.value.trim(); refilter(); });
byId('clear').addEventListener('click', clearFilters);
byId('view').addEventListener('click', togglePicture);
byId('retry').addEventListener('click', () => send());
byId('download').addEventListener('click', downloadDecisions);
byId('help-button').addEventListener('click', () => byId('help').showModal());
byId('reader').addEventListener('input', () => {
  byId('reader').parentElement.classList.remove('wanted');
  keepLocally();
});
let resizeTimer = 0;
window.addEventListener('resize', () => {
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(() => { renewGrid(); showSelected(); drawPlots(); }, 80);
});

byId('about').textContent = [plural(COUNT, 'case'), ...data.bundles, 'for research; not for diagnosis'].join(' · ');
byId('method').textContent = data.methodSentence;
byId('view').disabled = !COUNT;
loadDecisions();
fillHistogram();
fillScatter();
refilter();
showSaving();
grid.focus({ preventScroll: true });
