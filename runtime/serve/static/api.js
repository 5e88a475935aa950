// Talks to the service; the token lives in this module's memory only.

let token = "";

export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? "");
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

export function setToken(value) {
  token = value;
}

export async function fetchInfo() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("/info", { headers });
  if (!response.ok) throw new Refused(response.status, await problemOf(response), 0);
  return response.json();
}

export async function isReady() {
  try {
    return (await fetch("/readyz")).ok;
  } catch {
    return false;
  }
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

// XMLHttpRequest, because fetch tells nothing about the progress of what it sends.
export function classify(file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/classify?explain=1");
    request.responseType = "json";
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.upload.onload = () => onProgress(1);
    request.onerror = () => reject(new TypeError("network"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onload = () => {
      const content = request.response ?? {};
      if (content.schema) resolve(content);
      else reject(new Refused(request.status, content, Number(request.getResponseHeader("Retry-After")) || 1));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("file", file, file.name || "photo.jpg");
    request.send(form);
  });
}
