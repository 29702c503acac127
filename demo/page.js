// Results on the page: the map over the photograph, drawn in the browser whenever a slider moves, without a request.

const slider = id => Number(document.querySelector(`#${id} input[type=number]`)?.value ?? 0.5);
const button = (text, name, act) => {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", textContent: text });
  made.setAttribute("aria-label", name);
  made.addEventListener("click", act);
  return made;
};
let colours;  // of the colour scale, 256 times red, green, blue and opacity
const MOST_REGIONS = 8;  // that are listed

class AnomalyResult extends HTMLElement {
  // Gradio changes what is inside of an element instead of replacing it, and what was drawn is lost.
  connectedCallback() {
    this.observer ??= new MutationObserver(() => this.build());
    this.observer.observe(this, { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] });
    this.build();
  }

  disconnectedCallback() { this.observer.disconnect(); }

  async build() {
    const [photo, values] = [this.querySelector(".photo"), this.querySelector(".values")];
    if (!values || (this.contains(this.canvas) && this.source === values.src)) return;
    const turn = this.turn = (this.turn ?? 0) + 1;
    await Promise.all([photo.decode(), values.decode()]).catch(() => {});
    if (!this.isConnected || turn !== this.turn) return;
    this.source = values.src;
    this.photo = photo;
    const [width, height] = [values.naturalWidth, values.naturalHeight];
    const reader = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    reader.drawImage(values, 0, 0);
    this.levels = reader.getImageData(0, 0, width, height).data;  // red, green, blue and alpha of each pixel
    this.querySelectorAll("canvas, .controls, .value, .regions, .enlarge").forEach(part => part.remove());
    this.canvas = Object.assign(document.createElement("canvas"), { width, height });
    this.canvas.setAttribute("aria-hidden", "true");
    photo.after(this.canvas);
    this.addControls();
    drawAll();
    if (this.closest("#one") && innerWidth < 700) this.scrollIntoView({ block: "start" });
  }

  // The second of two sides keeps its own thresholds; the sliders are those of the first.
  get isSecond() { return this.parentElement.matches(".sides") && this.previousElementSibling !== null; }
  get threshold() { return this.isSecond ? Number(this.dataset.threshold) : slider("threshold"); }
  get border() { return this.isSecond ? Number(this.dataset.pixelThreshold) : slider("contour"); }

  addControls() {
    if (this.closest(".gallery")) {
      const enlarge = button("", `Enlarge ${this.dataset.name}`, () => this.enlarge());
      enlarge.className = "enlarge";
      this.querySelector(".stage").append(enlarge);
      return;
    }
    const divide = document.createElement("input");
    Object.assign(divide, { type: "range", min: 0, max: 100, value: 0, className: "divide" });
    divide.setAttribute("aria-label", "How much of the photograph is shown without the heatmap");
    divide.addEventListener("input", () => this.style.setProperty("--divide", `${divide.value}%`));
    const zoom = factor => {
      const now = Math.min(8, Math.max(1, Number(this.style.getPropertyValue("--zoom") || 1) * factor));
      this.style.setProperty("--zoom", now);
      this.toggleAttribute("zoomed", now > 1);
    };
    const bar = document.createElement("div");
    bar.className = "controls";
    bar.append("Heatmap", divide, "Photograph", button("−", "Zoom out", () => zoom(1 / 1.5)), button("+", "Zoom in", () => zoom(1.5)));
    this.querySelector(".frame").after(bar);
    this.told = document.createElement("output");
    this.told.className = "value";
    this.list = document.createElement("div");
    this.list.className = "regions";
    this.crop = document.createElement("canvas");
    this.crop.className = "crop";
    this.crop.hidden = true;
    this.crop.setAttribute("aria-hidden", "true");
    bar.after(this.told, this.crop, this.list);
    const stage = this.querySelector(".stage");
    for (const kind of ["pointermove", "pointerdown"]) stage.addEventListener(kind, event => this.tellPoint(event));
  }

  // The probability under the pointer, and the region there.
  tellPoint(event) {
    const box = this.photo.getBoundingClientRect(), { width, height } = this.canvas;
    const at = (position, start, length, count) => Math.min(count - 1, Math.max(0, Math.floor((position - start) / length * count)));
    const pixel = at(event.clientY, box.top, box.height, height) * width + at(event.clientX, box.left, box.width, width);
    const region = this.regions[this.numbers[pixel] - 1];
    if (region) return this.tellRegion(region);
    this.crop.hidden = true;
    this.told.textContent = `${(this.levels[4 * pixel] / 255).toFixed(2)} here`;
  }

  // A region's values, and the photograph around it without the heatmap.
  tellRegion(region) {
    this.told.textContent = `Region: peak ${region.peak.toFixed(2)}, ${this.areaOf(region)} pixels`;
    const { width, height } = this.canvas, margin = Math.max(8, (region.right - region.left + region.bottom - region.top) / 8);
    const left = Math.max(0, region.left - margin), top = Math.max(0, region.top - margin);
    const [w, h] = [Math.min(width, region.right + margin) - left, Math.min(height, region.bottom + margin) - top];
    const scale = 240 / Math.max(w, h);
    Object.assign(this.crop, { width: Math.round(w * scale), height: Math.round(h * scale), hidden: false });
    const [fullWidth, fullHeight] = [this.photo.naturalWidth / width, this.photo.naturalHeight / height];
    this.crop.getContext("2d").drawImage(
      this.photo, left * fullWidth, top * fullHeight, w * fullWidth, h * fullHeight, 0, 0, this.crop.width, this.crop.height);
  }

  areaOf(region) {
    return Math.round(region.area * this.dataset.width * this.dataset.height / (this.canvas.width * this.canvas.height));
  }

  draw() {
    if (!this.canvas) return;
    const { width, height } = this.canvas, border = Math.round(this.border * 255), levels = this.levels;
    colours ??= JSON.parse(document.querySelector(".scale").dataset.colours);
    const context = this.canvas.getContext("2d"), picture = context.createImageData(width, height);
    const line = Math.max(1, Math.round(Math.max(width, height) / 400)), fade = slider("fade");
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && levels[4 * (y * width + x)] >= border;
    let count = 0;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i += 4) {
        if (levels[i] < border) continue;  // the photograph is left as it is where it is good
        count++;
        const isEdge = !(inside(x - line, y) && inside(x + line, y) && inside(x, y - line) && inside(x, y + line));
        const [red, green, blue, weight] = colours[levels[i]];
        picture.data.set(isEdge ? [255, 255, 255, 255] : [red, green, blue, weight * fade], i);
      }
    }
    context.putImageData(picture, 0, 0);
    const share = `${(100 * count / (width * height)).toFixed(1)}% of it lies inside the contour`;
    this.photo.alt = `${this.dataset.name}: ${share}`;
    const isAnomalous = Number(this.dataset.score) >= this.threshold;
    this.classList.toggle("anomalous", isAnomalous);
    this.querySelector(".label").textContent = isAnomalous ? "anomalous" : "normal";
    this.querySelector(".limit").textContent = `anomalous from ${this.threshold.toFixed(3)} on`;
    for (const link of this.querySelectorAll(".downloads a")) {  // as it is seen
      link.href = `${link.href.split("?")[0]}?fade=${fade}&pixel_threshold=${this.border}`;
    }
    if (this.list) this.showRegions();
  }

  showRegions() {
    const { width, height } = this.canvas;
    Object.assign(this, findRegions(this.levels, width, height, Math.round(this.border * 255)));
    this.crop.hidden = true;
    this.told.textContent = "";
    const ranked = [...this.regions].sort((one, other) => other.peak - one.peak).slice(0, MOST_REGIONS);
    this.list.replaceChildren(...ranked.map((region, index) => button(
      region.peak.toFixed(2), `Region ${index + 1}: peak ${region.peak.toFixed(2)}, ${this.areaOf(region)} pixels`,
      () => this.tellRegion(region))));
  }

  enlarge() {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", this.dataset.name);
    const copy = this.cloneNode(true);
    dialog.append(button("×", "Close", () => dialog.close()), copy);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", event => event.target === dialog && dialog.close());
    this.closest(".gallery").after(dialog);
    dialog.showModal();
  }
}
customElements.define("anomaly-result", AnomalyResult);

function drawAll() {
  document.querySelectorAll("anomaly-result").forEach(result => result.draw());
  document.querySelectorAll(".rows tr[data-score]").forEach(row => {
    if (row.dataset.score) row.cells[2].textContent = Number(row.dataset.score) >= slider("threshold") ? "anomalous" : "normal";
  });
}

// A cell that a spreadsheet would take for a formula gets an apostrophe.
const csvCell = text => `"${(/^[=+\-@\t]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;

function tableFile(rows) {
  const lines = [...rows.querySelectorAll("tr")].map(row => [...row.cells].map(cell => csvCell(cell.textContent)).join(","));
  return `data:text/csv;charset=utf-8,${encodeURIComponent(lines.join("\r\n") + "\r\n")}`;
}

let waits = false;  // one drawing a frame
const drawSoon = () => {
  if (waits) return;
  waits = true;
  requestAnimationFrame(() => { waits = false; drawAll(); });
};
document.addEventListener("input", event => event.target.closest?.("#fade, #threshold, #contour") && drawSoon());
document.addEventListener("change", event => event.target.closest?.("#fade, #threshold, #contour") && drawSoon());
document.addEventListener("click", event => {
  const link = event.target.closest?.("a.csv");
  if (link) link.href = tableFile(link.parentElement.previousElementSibling);
}, true);

// Gradio names its drop zones otherwise than they read; the text that is seen is the better name.
new MutationObserver(() => {
  document.querySelectorAll("button.upload-container[aria-label]").forEach(zone => {
    if (zone.textContent.trim()) zone.removeAttribute("aria-label");
  });
}).observe(document.documentElement, { childList: true, subtree: true });
