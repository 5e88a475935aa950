// The page's words: one file a language, chosen by the service from what the browser prefers.

let words = {};

export async function loadStrings() {
  const response = await fetch("/static/strings.json");
  words = await response.json();
  document.documentElement.lang = words.language;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t(node.dataset.label));
  }
}

export function t(key, values = {}) {
  const text = key.split(".").reduce((part, name) => part?.[name], words) ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export function labelName(id, facts) {
  return words.labels?.[id] ?? facts?.labels?.find((label) => label.id === id)?.name ?? id;
}

export function clock(date) {
  return new Intl.DateTimeFormat(words.language, { timeStyle: "medium" }).format(date);
}

export function moment(date) {
  const how = { dateStyle: "long", timeStyle: "medium" };
  return new Intl.DateTimeFormat(words.language, how).format(date);
}

export function percent(share) {
  const value = share * 100;
  return value > 0 && value < 1 ? "<1" : String(Math.round(value));
}
