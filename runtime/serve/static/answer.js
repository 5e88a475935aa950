// Draws one answer. Everything that comes from the service is set as text, never as markup.

import { labelName, moment, percent, t } from "./strings.js";

const SVG = "http://www.w3.org/2000/svg";

// Shape and colour say the same: disc with a tick, octagon with a bang, triangle, crossed square.
const SHAPES = {
  ok: ["M32 4a28 28 0 1 1 0 56 28 28 0 0 1 0-56z", "M19 33l9 9 18-20"],
  flagged: ["M21 4h22l17 17v22L43 60H21L4 43V21z", "M32 16v20M32 45v3"],
  uncertain: ["M32 5l29 53H3z", "M32 25v16M32 48v3"],
  rejected: ["M6 6h52v52H6z", "M21 21l22 22M43 21L21 43"],
};
SHAPES.error = SHAPES.rejected;

export function toneOf(record) {
  const answered = record.status === "ok" || record.status === "uncertain";
  return answered && record.flags.length > 0 ? "flagged" : record.status;
}

export function shape(tone) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 64 64");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  SHAPES[tone].forEach((d, index) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.setAttribute("class", index === 0 ? "shape-body" : "shape-mark");
    svg.append(path);
  });
  return svg;
}

// What stands there in large type: a flagged class whatever the label, an answer only if it can be
// relied on.
export function headline(record, facts) {
  if (record.flags.length > 0) return byProbability(record).map((flag) => labelName(flag, facts)).join(" / ");
  if (record.status !== "ok") return t(`answer.${record.status}`);
  return labelName(record.label, facts);
}

function byProbability(record) {
  return [...record.flags].sort((a, b) => record.probabilities[b] - record.probabilities[a]);
}

// The line below it.
export function sureness(record, facts) {
  if (record.label === null) return "";
  const values = { label: labelName(record.label, facts), percent: percent(record.confidence) };
  if (record.status === "uncertain") {
    return t(record.flags.length > 0 ? "answer.guess-flagged" : "answer.guess", values);
  }
  const same = record.flags.length === 0 || headline(record, facts) === values.label;
  return t(same ? "answer.confidence" : "answer.probable", values);
}

export function make(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function answerView(entry, pageIndex, facts, actions) {
  const record = entry.pages[pageIndex];
  const tone = toneOf(record);
  return [
    pagesNav(entry, pageIndex, facts, actions.showPage),
    make("div", { className: "columns" },
      verdict(record, tone, facts),
      evidence(entry, pageIndex, actions.openEvidence),
      probabilities(record, facts),
      details(entry, record, pageIndex),
    ),
    make("div", { className: "buttons actions" },
      button(t("drop.next"), actions.another, "primary"),
      button(t("action.json"), actions.saveJson),
      button(t("action.print"), actions.print),
    ),
    make("p", { className: "signature print-only" }, t("answer.signature")),
  ].filter((node) => node !== null);
}

function button(text, onclick, className = "") {
  return make("button", { type: "button", className, onclick }, text);
}

function pagesNav(entry, pageIndex, facts, showPage) {
  if (entry.pages.length < 2) return null;
  const items = entry.pages.map((record, index) => {
    const name = `${t("answer.page")} ${record.page}: ${headline(record, facts)}`;
    const chosen = button(String(record.page), () => showPage(index));
    chosen.setAttribute("aria-label", name);
    if (index === pageIndex) chosen.setAttribute("aria-current", "page");
    chosen.prepend(shape(toneOf(record)));
    chosen.dataset.tone = toneOf(record);
    return make("li", {}, chosen);
  });
  return make("nav", { className: "pages", "aria-label": t("answer.pages") }, make("ul", {}, ...items));
}

function verdict(record, tone, facts) {
  const card = make("section", { className: "card verdict", "aria-labelledby": "verdict" });
  card.dataset.tone = tone;
  const sure = sureness(record, facts);
  card.append(
    make("div", { className: "verdict-head" },
      shape(tone),
      make("div", {},
        make("p", { className: "verdict-kind" }, t(`status.${tone}`)),
        make("h2", { id: "verdict", tabIndex: -1 }, headline(record, facts)),
        sure ? make("p", { className: "verdict-sure" }, sure) : null,
      ),
    ),
  );
  if (record.flags.length > 0) card.append(flags(record, facts));
  if (record.reasons.length > 0) {
    card.append(make("h3", {}, t("answer.reasons")), list(record.reasons.map(sentence), "reasons"));
  }
  return card;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function list(texts, className) {
  return make("ul", { className }, ...texts.map((text) => make("li", {}, text)));
}

function flags(record, facts) {
  const lines = record.flags.map((flag) => {
    const point = threshold(flag, facts);
    const values = {
      label: labelName(flag, facts),
      percent: percent(record.probabilities?.[flag] ?? 0),
      threshold: point === null ? "" : percent(point),
    };
    return t(point === null ? "answer.flag-plain" : "answer.flag", values);
  });
  return make("div", { className: "flags" }, make("h3", {}, t("answer.flags")), list(lines, "flag-list"));
}

function threshold(label, facts) {
  const point = facts?.decision?.operating_points?.[label];
  const value = typeof point === "object" ? point?.threshold : point;
  return typeof value === "number" ? value : null;
}

function probabilities(record, facts) {
  if (record.probabilities === null) return null;
  const rows = Object.entries(record.probabilities).map(([label, p]) => {
    const point = threshold(label, facts);
    const bar = make("span", { className: "bar", "aria-hidden": "true" }, make("span", { className: "bar-fill" }));
    bar.style.setProperty("--p", `${p * 100}%`);
    if (point !== null) {
      bar.append(make("span", { className: "bar-point" }));
      bar.style.setProperty("--point", `${point * 100}%`);
    }
    const row = make("tr", {},
      make("th", { scope: "row" }, labelName(label, facts),
        point === null ? null : make("span", { className: "bar-note" }, t("answer.threshold", { percent: percent(point) }))),
      make("td", { className: "bar-cell" }, bar),
      make("td", { className: "bar-value" }, `${percent(p)}\u00a0%`),
    );
    if (label === record.label) row.className = "best";
    if (record.flags.includes(label)) row.classList.add("flagged");
    return row;
  });
  const card = make("section", { className: "card" },
    make("h3", { id: "probabilities" }, t("answer.probabilities")),
    make("table", { className: "bars", "aria-labelledby": "probabilities" }, make("tbody", {}, ...rows)));
  const sets = Object.entries(record.set ?? {});
  if (sets.length > 0) {
    const [coverage, labels] = sets[0];
    const names = labels.map((label) => labelName(label, facts)).join(", ");
    card.append(make("h3", {}, t("answer.set")), make("p", {}, names), make("p", { className: "small" },
      t("answer.set-note", { coverage: String(Math.round(Number(coverage) * 100)) })));
  }
  return card;
}

function details(entry, record, pageIndex) {
  const rows = [
    ["answer.file", record.source],
    ["answer.page", entry.pages.length > 1
      ? t("answer.page-of", { number: record.page, count: entry.pages.length }) : String(record.page)],
    ["answer.layout", !record.layout || record.layout === "unknown" ? t("answer.layout-unknown") : record.layout],
    ["answer.read-at", moment(entry.time)],
    ["answer.time", t("answer.ms", { ms: Math.round(record.timing_ms.total ?? 0) })],
    ["answer.model", `${record.model.name} ${record.model.version}, ${record.model.engine} ${record.model.precision}`],
    ["answer.hash", record.sha256],
  ];
  const terms = rows.flatMap(([key, value]) => [make("dt", {}, t(key)), make("dd", {}, value || "-")]);
  return make("section", { className: "card details" },
    make("h3", { id: `details-${pageIndex}` }, t("answer.details")), make("dl", {}, ...terms));
}

export function evidenceText(record) {
  const leads = record.explanation?.leads ?? [];
  if (leads.length === 0) return "";
  const names = leads.map(({ name, share }) => t("evidence.lead", { lead: name, percent: percent(share) }));
  const values = { label: labelName(record.explanation.label, null), leads: names.join(", ") };
  return t("evidence.carried", values);
}

function evidence(entry, pageIndex, openEvidence) {
  const record = entry.pages[pageIndex];
  const url = entry.pictures[pageIndex];
  if (!url || record.status === "error") return null;
  const title = t(record.label === null ? "evidence.page" : "evidence.title");
  const card = make("section", { className: "card evidence" }, make("h3", {}, title));
  const carried = evidenceText(record);
  const picture = make("img", { src: url, alt: t("evidence.alt", { leads: carried }), className: "evidence-picture" });
  const open = button(t(record.label === null ? "evidence.open-page" : "evidence.open"), () => openEvidence(pageIndex));
  picture.onclick = () => openEvidence(pageIndex);
  card.append(picture);
  if (carried) card.append(make("p", { className: "carried" }, carried), make("p", { className: "small" }, t("evidence.how")));
  card.append(make("div", { className: "buttons" }, open));
  return card;
}
