// The selected case: decision, why it stands out, what was measured, flags.
const panel = byId('case');

function drawCase() {
  const row = selected();
  if (row === null) { panel.replaceChildren(element('p', 'quiet', 'No case is selected.')); return; }
  const parts = [makeTitle(row), makeChoices(row), makeNote(row), makeDecided(row)];
  if (C.status[row] !== 0) { parts.splice(1, 0, makeReason(row)); } else { parts.push(...makeWhy(row), ...makeTable(row)); }
  parts.push(...makeFlags(row));
  const held = panel.contains(document.activeElement) ? document.activeElement.dataset.control : null;
  panel.replaceChildren(...parts.filter(Boolean));
  if (held) { panel.querySelector(`[data-control=${held}]`).focus(); }
  drawPicture();
}

function makeTitle(row) {
  const box = element('div');
  const title = element('p', 'title');
  title.append(element('span', 'id', C.id[row]));
  const about = [
    { F: 'woman', M: 'man' }[C.sex[row]], C.age[row] === null ? null : `${C.age[row]} years`,
    C.height[row] === null ? null : `${C.height[row].toFixed(2)} m`,
    C.slices[row] === null ? null : plural(C.slices[row], 'slice'), C.thickness[row] === null ? null : `${number(C.thickness[row])} mm`,
  ].filter(Boolean).join(' · ');
  box.append(title, element('p', 'quiet', about));
  if (C.status[row] === 0) {
    const link = element('a', '', 'Report');
    Object.assign(link, { href: caseFile(row, 'report.html'), target: 'myotome-report', rel: 'noopener' });
    box.lastElementChild.append(about ? ' · ' : '', link);
  }
  return box;
}

function makeReason(row) {
  const line = element('p', 'reason');
  line.append(element('b', 'flagged', STATUSES[C.status[row]].replace(/^./, (letter) => letter.toUpperCase())), `: ${C.reason[row] || ''}`);
  return line;
}

function makeChoices(row) {
  const box = element('div', 'choices');
  const choices = [['accept', 'Accept', 'a'], ['exclude', 'Exclude', 'x'], ['annotate', 'Send to annotation', 's']];
  for (const [decision, title, key] of choices) {
    const button = element('button', decision, `${title} `);
    button.type = 'button';
    button.dataset.control = decision;
    button.append(element('kbd', '', key));
    button.setAttribute('aria-pressed', decisionOf(row) === decision);
    button.disabled = decision === 'accept' && C.status[row] !== 0;
    button.addEventListener('click', () => choose(decision));
    box.append(button);
  }
  return box;
}

function makeNote(row) {
  const box = element('label', '', 'Note ');
  const input = element('input');
  input.dataset.control = 'note';
  Object.assign(input, { id: 'note', maxLength: 2000, placeholder: 'kept with the next decision  ( n )' });
  input.value = (decided.get(row) || {}).note || '';
  const back = element('button', '', 'Undo ');
  back.type = 'button';
  back.dataset.control = 'undo';
  back.append(element('kbd', '', 'u'));
  back.disabled = !history.length;
  back.addEventListener('click', takeBack);
  box.append(input);
  const line = element('div', 'note');
  line.append(box, back);
  return line;
}

function makeDecided(row) {
  const entry = decided.get(row);
  if (!entry || !decisionOf(row)) { return null; }
  const when = entry.at.slice(0, 16).replace('T', ' ');
  const state = !entry.unsaved ? '' : served ? ' (not saved yet)' : ' (in this browser)';
  return element('p', 'quiet', `${DECISIONS[entry.decision]} by ${entry.reviewer}, ${when} UTC${state}`);
}

function makeWhy(row) {
  const parts = [element('h2', '', 'How it compares')];
  if (C.score[row] === null) {
    parts.push(element('p', 'quiet', data.method === 'none' ? data.methodSentence : 'No score: too few of its measures are known.'));
  } else {
    const line = element('p');
    const name = data.method === 'distance' ? 'Distance ' : 'Largest z ';
    line.append(name, element('b', isOdd(row) ? 'odd' : '', number(C.score[row]) + (isOdd(row) ? ' ▲' : '')), `, tail ${tailText(C.tail[row])}. Most of it:`);
    parts.push(line, makeDrivers(row));
  }
  const missing = data.features.map((feature, column) => column).filter((column) => C.values[row][column] === null);
  if (missing.length) { parts.push(element('p', 'flagged', `Not known: ${missing.map(featureName).join('; ')}.`)); }
  if (C.heightRatio[row] !== null) {
    const line = element('p', '', `All muscles ${number(C.volume[row])} mL: `);
    line.append(element('b', Math.abs(C.heightZ[row]) > 3 ? 'odd' : '', percent(C.heightRatio[row])), ` beside others of this sex and height (z ${number(C.heightZ[row], 2).replace('-', '−')}).`);
    parts.push(line);
  }
  if (C.uncertainty[row] !== null) { parts.push(element('p', '', `Uncertainty ${number(C.uncertainty[row], 2)} nats.`)); }
  return parts;
}

function makeDrivers(row) {
  const list = element('ul', 'why');
  for (const driver of C.drivers[row]) {
    const [column, share] = driver;
    const item = element('li');
    const meter = element('span', 'meter');
    const bar = element('i');
    bar.style.width = `${100 * share}%`;
    meter.append(bar);
    meter.title = `${Math.round(100 * share)} % of the squared distance`;
    const z = C.z[row][column];
    const text = element('span');
    text.append(`${featureName(column)} `, element('b', '', featureValue(row, column)), wouldFit(driver), z === null ? '' : ` (z ${number(z, 2).replace('-', '−')})`);
    item.append(meter, text);
    list.append(item);
  }
  return list;
}

// Volumes and densities by side; cells far from the middle of the sex are marked.
function makeTable(row) {
  const columns = [['right', 'volume'], ['left', 'volume'], ['both', 'volume'], ['right', 'density'], ['left', 'density'], ['both', 'density']]
    .filter(([side, measure]) => data.features.some((feature) => feature[1] === side && feature[2] === measure));
  const table = element('table');
  const head = element('tr');
  head.append(element('th'));
  for (const [side, measure] of columns) {
    const cell = element('th', 'number', side === 'both' ? '' : side);
    cell.scope = 'col';
    cell.append(element('span', 'unit', measure === 'volume' ? 'mL' : 'HU'));
    head.append(cell);
  }
  table.createTHead().append(head);
  const body = table.createTBody();
  for (const structure of data.structures) {
    const line = body.insertRow();
    const name = element('th');
    name.scope = 'row';
    const swatch = element('span', 'swatch');
    swatch.style.background = structure.colour;
    name.append(swatch, structure.title);
    line.append(name, ...columns.map(([side, measure]) => makeCell(row, structure.name, side, measure)));
  }
  return [element('h2', '', 'Measured'), table];
}

function makeCell(row, structure, side, measure) {
  const column = data.features.findIndex((feature) => feature[0] === structure && feature[1] === side && feature[2] === measure);
  const value = column < 0 ? null : C.values[row][column];
  const cell = element('td', 'number', number(value));
  const z = column < 0 ? null : C.z[row][column];
  if (z !== null) {
    cell.title = `z ${number(z, 2)}`;
    if (Math.abs(z) > 2.5) { cell.classList.add(Math.abs(z) > 4 ? 'far2' : 'far1'); }
  }
  return cell;
}

function makeFlags(row) {
  if (!C.flags[row].length) { return []; }
  const list = element('ul', 'flags');
  for (const flag of C.flags[row]) {
    const item = element('li');
    item.append(element('b', '', words(data.flags[flag].name)), ` ${data.flags[flag].meaning}`);
    list.append(item);
  }
  return [element('h2', '', 'Flags'), list];
}

// The large picture, which takes the grid's place; it is fetched once the reader rests on a case.
let pictureTimer = 0;

function drawPicture() {
  clearTimeout(pictureTimer);
  const row = selected();
  if (byId('picture').hidden || row === null) { return; }
  const image = byId('overview');
  const missing = byId('no-overview');
  const has = C.status[row] === 0;
  missing.hidden = has;
  missing.textContent = has ? '' : `This case was ${STATUSES[C.status[row]]}: ${C.reason[row] || ''}`;
  image.hidden = !has;
  if (has && image.dataset.row !== String(row)) {
    image.removeAttribute('src');
    pictureTimer = setTimeout(() => {
      image.dataset.row = row;
      image.alt = `Overview of case ${C.id[row]}`;
      image.src = caseFile(row, 'overview.png');
    }, 60);
  }
}

byId('overview').addEventListener('error', () => {
  byId('overview').hidden = true;
  byId('no-overview').hidden = false;
  byId('no-overview').textContent = 'This case has no overview picture.';
});
