// The page: takes pages in, sends them one after another, shows answers, keeps this visit's.

import { Refused, classify, fetchInfo, isReady, setToken } from "./api.js";
import { answerView, evidenceText, headline, make, shape, sureness, toneOf } from "./answer.js";
import { clock, loadStrings, t } from "./strings.js";
import { Viewer } from "./viewer.js";

const MOST_KEPT = 30; // answers with their pictures, up to 300 kB each
const TRIES_WHEN_BUSY = 8;
const LOOK_AGAIN_MS = 15000;

const at = (id) => document.getElementById(id);
const visit = []; // answers of this visit, the youngest first
const waiting = [];
let facts = null;
let shown = null;
let running = null;
let tokenKnown = null;
let viewer;

async function start() {
  await loadStrings();
  document.title = `${t("title")} - ecg-edge`;
  at("use").textContent = t("use");
  at("drop-hint").textContent = t("drop.hint", { size: "32" });
  viewer = new Viewer(at("viewer"));
  wire();
  await connect();
  setInterval(() => running || look(), LOOK_AGAIN_MS);
}

function wire() {
  at("choose").onclick = () => at("file").click();
  at("photograph").onclick = () => at("camera").click();
  for (const id of ["file", "camera"]) {
    at(id).onchange = () => {
      take([...at(id).files]);
      at(id).value = "";
    };
  }
  at("cancel").onclick = () => {
    waiting.length = 0;
    running?.abort();
  };
  at("export-all").onclick = () => save(visit.flatMap((entry) => entry.pages), "ecg-edge-visit");
  at("forget").onclick = forget;
  at("token-cancel").onclick = () => at("token-dialog").close();
  wireDrop();
  document.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
}

function wireDrop() {
  let depth = 0;
  const over = (open) => document.body.classList.toggle("over", open);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    over(true);
  });
  document.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) over(false);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    take([...(event.dataTransfer?.files ?? [])]);
  });
}

// ---- the device

async function connect() {
  try {
    facts = await fetchInfo();
    at("use").textContent = facts.intended_use || t("use");
    at("drop-hint").textContent = t("drop.hint", { size: megabytes() });
    await look();
  } catch (fault) {
    if (fault instanceof Refused && fault.status === 401) {
      state("token");
      if (await askToken()) await connect();
    } else {
      state("away");
    }
  }
}

async function look() {
  if (facts === null) {
    if (at("state").dataset.state === "away") await connect();
    return;
  }
  state((await isReady()) ? "ready" : "away");
}

function state(name) {
  at("state").dataset.state = name;
  const text = t(`state.${name}`);
  const model = name === "ready" && facts ? `, ${facts.name} ${facts.version}` : "";
  if (at("state-text").textContent !== text + model) at("state-text").textContent = text + model;
}

function megabytes() {
  return String(Math.floor((facts?.service?.max_body_bytes ?? 32 * 2 ** 20) / 2 ** 20));
}

function askToken() {
  const dialog = at("token-dialog");
  at("token-problem").textContent = tokenKnown ? t("token.wrong") : "";
  at("token").value = "";
  dialog.returnValue = "";
  return new Promise((resolve) => {
    at("token-form").onsubmit = () => {
      tokenKnown = at("token").value.trim();
      setToken(tokenKnown);
      dialog.returnValue = "given";
    };
    dialog.onclose = () => {
      const given = dialog.returnValue === "given";
      dialog.returnValue = "";
      resolve(given);
    };
    dialog.showModal();
    at("token").focus();
  });
}

// ---- pages on their way

function take(files) {
  if (files.length === 0) return;
  hideAlert();
  waiting.push(...files);
  if (running === null) void work();
}

async function work() {
  let number = 0;
  while (waiting.length > 0) {
    number += 1;
    const file = waiting.shift();
    await readPage(file, number, number + waiting.length);
  }
}

async function readPage(file, number, count) {
  if (file.size > Number(megabytes()) * 2 ** 20) {
    failed(file, t("problem.large", { size: megabytes() }));
    another();
    return;
  }
  running = new AbortController();
  showWorking(file, number, count);
  try {
    const answer = await send(file, running.signal);
    keep(answer);
    const record = worst(visit[0]);
    say(t("answer.ready", { answer: headline(record, facts), sure: sureness(record, facts) }));
  } catch (fault) {
    if (fault.name !== "AbortError") failed(file, problemText(fault));
  } finally {
    running = null;
    hideWorking();
  }
}

async function send(file, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await classify(file, { onProgress: progress, signal });
    } catch (fault) {
      if (!(fault instanceof Refused)) throw fault;
      if (fault.status === 401) {
        state("token");
        if (!(await askToken())) throw fault;
        if (facts === null) await connect();
      } else if (fault.status === 429 && tries < TRIES_WHEN_BUSY) {
        at("working-title").textContent = t("working.busy");
        await pause(fault.retryAfter * 1000, signal);
      } else {
        throw fault;
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    }, { once: true });
  });
}

function problemText(fault) {
  if (!(fault instanceof Refused)) return t("problem.network");
  if (fault.status === 429) return t("problem.busy");
  const { detail = "", remedy = "" } = fault.problem;
  const end = (text) => (text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : "");
  return t("problem.other", { detail: detail ? `${detail}.` : `${fault.status}.`, remedy: end(remedy) });
}

// ---- what is shown

function showWorking(file, number, count) {
  at("start").hidden = true;
  at("answer").hidden = true;
  at("working").hidden = false;
  at("working-name").textContent =
    count > 1 ? `${file.name} (${t("working.queue", { number, count })})` : file.name;
  const preview = at("preview");
  preview.hidden = !/^image\/(jpeg|png|webp|gif|bmp)$/.test(file.type);
  if (!preview.hidden) preview.src = URL.createObjectURL(file);
  progress(0);
  at("cancel").focus();
}

function hideWorking() {
  if (at("preview").src) URL.revokeObjectURL(at("preview").src);
  at("preview").removeAttribute("src");
  at("working").hidden = true;
  if (shown === null) at("start").hidden = false;
  else at("answer").hidden = false;
}

function progress(part) {
  const bar = at("progress");
  if (part < 1) {
    bar.value = part * 100;
    at("working-title").textContent = t("working.sending", { percent: Math.round(part * 100) });
  } else {
    bar.removeAttribute("value");
    at("working-title").textContent = t("working.reading");
    say(t("working.reading"));
  }
}

function keep(answer) {
  const { further_pages: others = [], ...first } = answer;
  const pages = [first, ...others];
  const entry = { time: new Date(), pages, pictures: pages.map(pictureOf) };
  visit.unshift(entry);
  for (const old of visit.splice(MOST_KEPT)) release(old);
  show(entry, 0);
  drawHistory();
}

// The picture leaves the record for a blob, so that exports stay small and memory holds it once.
function pictureOf(record) {
  const encoded = record.explanation_png;
  delete record.explanation_png;
  if (!encoded) return null;
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
}

function release(entry) {
  for (const url of entry.pictures) if (url) URL.revokeObjectURL(url);
}

function show(entry, pageIndex) {
  shown = entry;
  const record = entry.pages[pageIndex];
  at("answer").replaceChildren(...answerView(entry, pageIndex, facts, {
    showPage: (index) => show(entry, index),
    openEvidence: (index) => {
      const text = t("evidence.alt", { leads: evidenceText(entry.pages[index]) });
      viewer.open(entry.pictures[index], text);
    },
    another,
    saveJson: () => save(entry.pages.length > 1 ? entry.pages : record, `ecg-edge-${record.sha256.slice(0, 12)}`),
    print: () => window.print(),
  }));
  hideAlert();
  at("start").hidden = true;
  at("answer").hidden = false;
  drawHistory();
  at("verdict").focus({ preventScroll: true });
  window.scrollTo({ top: 0 });
}

function another() {
  shown = null;
  at("answer").hidden = true;
  at("start").hidden = false;
  drawHistory();
  window.scrollTo({ top: 0 });
  at("choose").focus();
}

function drawHistory() {
  at("history").hidden = visit.length === 0;
  at("entries").replaceChildren(...visit.map((entry) => {
    const record = worst(entry);
    const tone = toneOf(record);
    const sure = sureness(record, facts);
    const open = make("button", { type: "button", className: "entry", onclick: () => show(entry, 0) },
      shape(tone),
      make("span", { className: "entry-text" },
        make("span", { className: "entry-answer" }, sure ? `${headline(record, facts)}. ${sure}` : headline(record, facts)),
        make("span", { className: "entry-name" }, `${clock(entry.time)}  ${record.source}`)));
    open.dataset.tone = tone;
    if (entry === shown) open.setAttribute("aria-current", "true");
    return make("li", {}, open);
  }));
}

// Of a document with several pages the history shows the one to look at first.
function worst(entry) {
  const order = ["flagged", "uncertain", "error", "rejected", "ok"];
  const rank = (record) => order.indexOf(toneOf(record));
  return [...entry.pages].sort((a, b) => rank(a) - rank(b))[0];
}

function forget() {
  visit.forEach(release);
  visit.length = 0;
  say(t("history.forgotten"));
  another();
}

function save(content, name) {
  const blob = new Blob([JSON.stringify(content, null, 2)], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(blob), download: `${name}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// The answer of an earlier page must not stand there as if it were this one's.
function failed(file, text) {
  shown = null;
  at("answer").hidden = true;
  drawHistory();
  at("alert").hidden = false;
  at("alert").textContent = `${file.name}: ${text}`;
}

function hideAlert() {
  at("alert").hidden = true;
  at("alert").textContent = "";
}

function say(text) {
  at("live").textContent = text;
}

void start();
