// Decisions: sent to the server one by one, or kept in this browser when the page was opened from disk.
const STORE_KEY = `myotome-quality:${data.cohort}`;
const served = data.served && location.protocol.startsWith('http');
const RETRY_S = [1, 2, 5, 10, 30];

const decided = new Map();  // row -> {decision, reviewer, note, at, unsaved}
const history = [];         // what undo goes back over: {row, before}
const queue = [];           // what the server has not confirmed: {row, decision, reviewer, note, at}
const saving = { tries: 0, timer: 0, busy: false, trouble: '', kept: true };

function decisionOf(row) {
  const found = decided.get(row);
  return found && found.decision in DECISIONS ? found.decision : null;
}

function loadDecisions() {
  for (const [id, [decision, reviewer, note, at]] of Object.entries(data.reviews)) {
    if (rowOf.has(id)) { decided.set(rowOf.get(id), { decision, reviewer, note, at, stored: at }); }
  }
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(STORE_KEY)) || {}; } catch (error) { saving.kept = false; }
  byId('reader').value = kept.reader || '';
  for (const entry of kept.decisions || []) {
    const row = rowOf.get(entry.case_id);
    const stored = decided.get(row);
    // What the store has from a later time was imported, or decided by somebody since.
    if (row === undefined || (stored && stored.at + 'Z' >= entry.decided_at)) { continue; }
    const local = { row, decision: entry.decision, reviewer: entry.reviewer, note: entry.note, at: entry.decided_at };
    decided.set(row, { ...local, unsaved: true, stored: stored && stored.at });
    if (served) { queue.push(local); }
  }
  if (served) { send(); }
}

// The decisions that no store has yet, as the file for `myotome cohort quality --import` holds them.
function unsavedDecisions() {
  return [...decided].filter(([, entry]) => entry.unsaved).map(([row, entry]) => (
    { case_id: C.id[row], decision: entry.decision, note: entry.note, decided_at: entry.at, reviewer: entry.reviewer }
  ));
}

function keepLocally() {
  const reader = byId('reader').value.trim();
  try {
    localStorage.setItem(STORE_KEY, JSON.stringify({ reader, decisions: unsavedDecisions() }));
    saving.kept = true;
  } catch (error) {
    saving.kept = false;
  }
}

function decide(row, decision, note) {
  const reader = byId('reader').value.trim().replace(/\s+/g, ' ');
  if (!reader) {
    byId('reader').parentElement.classList.add('wanted');
    byId('reader').focus();
    say('Give your name first: each decision is kept with the name of its reader.');
    return false;
  }
  if (decision === 'accept' && C.status[row] !== 0) {
    say(`This case was ${STATUSES[C.status[row]]}: there is nothing to accept.`);
    return false;
  }
  history.push({ row, before: decided.get(row) });
  put(row, decision, reader, note);
  return true;
}

function put(row, decision, reviewer, note) {
  const entry = { decision, reviewer, note, at: new Date().toISOString() };
  decided.set(row, { ...entry, unsaved: true, stored: (decided.get(row) || {}).stored });
  if (served) { queue.push({ row, ...entry }); }
  keepLocally();
  if (served) { send(); }
  showSaving();
}

// Takes the last decision back and returns its case.
function undo() {
  const last = history.at(-1);
  if (!last) { say('Nothing to undo.'); return null; }
  const { row, before } = last;
  const mine = byId('reader').value.trim();
  if (!served) {
    history.pop();
    if (before) { decided.set(row, before); } else { decided.delete(row); }
    keepLocally();
    showSaving();
  } else {
    const kept = before && before.decision in DECISIONS;
    history.pop();
    put(row, kept ? before.decision : 'undecided', mine, kept ? before.note : '');
  }
  return row;
}

async function send() {
  if (saving.busy || !queue.length) { return; }
  clearTimeout(saving.timer);
  saving.busy = true;
  showSaving();
  const entry = queue[0];
  const known = decided.get(entry.row);
  const body = {
    case_id: C.id[entry.row], decision: entry.decision, reviewer: entry.reviewer, note: entry.note, seen: known.stored || null,
  };
  let reply = null;
  let answer = {};
  try {
    reply = await fetch('api/reviews', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal: AbortSignal.timeout(15000),
    });
    answer = await reply.json();
  } catch (error) {
    reply = reply && reply.status < 500 && reply.status !== 200 ? reply : null;
  }
  saving.busy = false;
  settle(entry, reply, answer);
}

function settle(entry, reply, answer) {
  if (reply && reply.ok) {
    queue.shift();
    confirm(entry, answer);
  } else if (reply && [400, 404, 409, 413, 415].includes(reply.status)) {
    queue.shift();
    giveUp(entry, answer);
  } else {
    saving.trouble = !reply ? 'the server does not answer'
      : reply.status === 401 ? 'the session has ended: open the printed address again'
      : answer.detail || `the server says ${reply.status}`;
    const pause = RETRY_S[Math.min(saving.tries, RETRY_S.length - 1)];
    saving.tries += 1;
    saving.timer = setTimeout(send, 1000 * pause);
    showSaving();
    return;
  }
  saving.tries = 0;
  saving.trouble = '';
  keepLocally();
  showSaving();
  redraw();
  send();
}

function confirm(entry, answer) {
  const now = decided.get(entry.row);
  now.stored = answer.reviewed_at;
  if (!queue.some((other) => other.row === entry.row)) {
    Object.assign(now, { unsaved: false, at: answer.reviewed_at, reviewer: answer.reviewer });
  }
}

// The server will never take this one: show what it has instead.
function giveUp(entry, answer) {
  for (let place = queue.length - 1; place >= 0; place -= 1) {
    if (queue[place].row === entry.row) { queue.splice(place, 1); }
  }
  const latest = answer.latest;
  if (latest) {
    decided.set(entry.row, { ...latest, at: latest.reviewed_at, stored: latest.reviewed_at, unsaved: false });
  } else {
    decided.delete(entry.row);
  }
  say(`Case ${C.id[entry.row]}: not saved, ${answer.detail || 'the server refused it.'}`);
}

function showSaving() {
  const line = byId('saving');
  const count = unsavedDecisions().length;
  byId('retry').hidden = !(served && saving.trouble);
  byId('download').hidden = served;
  byId('download').disabled = !count;
  let state = 'good';
  let text = 'All decisions are saved';
  if (!served) {
    state = saving.kept ? 'busy' : 'bad';
    const place = saving.kept ? 'kept in this browser' : 'lost when this page closes: download them';
    text = count ? `${plural(count, 'decision')} ${place}` : 'Opened from disk: download decisions when done';
  } else if (saving.trouble) {
    state = 'bad';
    text = `${plural(count, 'decision')} not saved: ${saving.trouble}; trying again`;
  } else if (count) {
    state = 'busy';
    text = `Saving ${count} …`;
  }
  line.className = `saving ${state}`;
  if (line.textContent !== text) { line.textContent = text; }
}

function downloadDecisions() {
  const decisions = unsavedDecisions();
  const table = { format: 'myotome-decisions', format_version: 1, cohort: data.cohort, decisions };
  const link = element('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify(table, null, 1) + '\n'], { type: 'application/json' }));
  link.download = 'decisions.json';
  link.click();
  URL.revokeObjectURL(link.href);
  say(`${plural(decisions.length, 'decision')} downloaded: 'myotome cohort quality FOLDER --import decisions.json' keeps them in the cohort.`);
}

window.addEventListener('beforeunload', (event) => {
  if ((served && queue.length) || (!served && !saving.kept && unsavedDecisions().length)) { event.preventDefault(); }
});
