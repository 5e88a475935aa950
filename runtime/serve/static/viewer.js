// The enlarged page: size by buttons, keys, wheel and pinch; place by scrolling, dragging and keys.

const STEP = 1.25;
const LARGEST = 8;

export class Viewer {
  constructor(dialog) {
    this.dialog = dialog;
    this.pane = dialog.querySelector("#pane");
    this.image = dialog.querySelector("#viewed");
    this.shown = dialog.querySelector("#zoom");
    this.zoom = 1;
    this.touches = new Map();
    dialog.querySelector("#zoom-in").onclick = () => this.setZoom(this.zoom * STEP);
    dialog.querySelector("#zoom-out").onclick = () => this.setZoom(this.zoom / STEP);
    dialog.querySelector("#zoom-fit").onclick = () => this.setZoom(1);
    dialog.querySelector("#viewer-close").onclick = () => dialog.close();
    dialog.addEventListener("keydown", (event) => this.onKey(event));
    this.pane.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.pane.addEventListener("pointerdown", (event) => this.onPointerDown(event));
    this.pane.addEventListener("pointermove", (event) => this.onPointerMove(event));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      this.pane.addEventListener(end, (event) => this.touches.delete(event.pointerId));
    }
    this.image.onload = () => this.setZoom(this.zoom);
    window.addEventListener("resize", () => this.dialog.open && this.setZoom(this.zoom));
  }

  open(url, text) {
    this.image.alt = text;
    this.image.src = url;
    this.dialog.showModal();
    this.pane.focus();
    this.setZoom(1);
  }

  // Zoom 1 shows the whole page; the point in the middle of the pane stays where it is.
  setZoom(zoom, at = null) {
    this.zoom = Math.min(LARGEST, Math.max(1, zoom));
    this.shown.textContent = `${Math.round(this.zoom * 100)}\u00a0%`;
    const { naturalWidth, naturalHeight } = this.image;
    if (!naturalWidth) return; // once it is loaded, this is called again
    const pane = this.pane;
    const fit = Math.min(pane.clientWidth / naturalWidth, pane.clientHeight / naturalHeight);
    const before = this.image.getBoundingClientRect();
    const box = pane.getBoundingClientRect();
    const x = at?.x ?? box.left + box.width / 2;
    const y = at?.y ?? box.top + box.height / 2;
    const u = before.width ? (x - before.left) / before.width : 0.5;
    const v = before.height ? (y - before.top) / before.height : 0.5;
    this.image.style.width = `${Math.floor(naturalWidth * fit * this.zoom)}px`;
    this.image.style.height = `${Math.floor(naturalHeight * fit * this.zoom)}px`;
    const after = this.image.getBoundingClientRect();
    pane.scrollLeft += after.left + u * after.width - x;
    pane.scrollTop += after.top + v * after.height - y;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.setZoom(this.zoom * STEP);
    else if (event.key === "-") this.setZoom(this.zoom / STEP);
    else if (event.key === "0") this.setZoom(1);
    else return;
    event.preventDefault();
  }

  onWheel(event) {
    event.preventDefault();
    const factor = Math.exp(-event.deltaY / 400);
    this.setZoom(this.zoom * factor, { x: event.clientX, y: event.clientY });
  }

  onPointerDown(event) {
    this.touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  onPointerMove(event) {
    const before = this.touches.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.touches.size === 2) {
      const other = [...this.touches].find(([id]) => id !== event.pointerId)[1];
      const ratio = distance(now, other) / Math.max(1, distance(before, other));
      this.setZoom(this.zoom * ratio, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else if (event.pointerType === "mouse") {
      this.pane.scrollLeft -= now.x - before.x;
      this.pane.scrollTop -= now.y - before.y;
    }
    this.touches.set(event.pointerId, now);
  }
}

function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
