"use strict";

const cards = [...document.querySelectorAll("article")];

// The filters, where the page has them.
const [decision, lowest, highest, shown] = ["decision", "lowest", "highest", "shown"].map(
  (id) => document.getElementById(id),
);

function filter() {
  const from = lowest.value === "" ? -Infinity : Number(lowest.value);
  const to = highest.value === "" ? Infinity : Number(highest.value);
  const unbounded = from === -Infinity && to === Infinity;
  let count = 0;
  for (const card of cards) {
    const score = card.dataset.score;
    const fits = score === undefined ? unbounded : Number(score) >= from && Number(score) <= to;
    const wanted = decision.value === "" || card.dataset.outcome.split(" ").includes(decision.value);
    card.hidden = !(fits && wanted);
    count += !card.hidden;
  }
  shown.textContent = `${count} of ${cards.length} images, the highest score first`;
}

if (decision) {
  for (const control of [decision, lowest, highest]) {
    for (const kind of ["input", "change"]) control.addEventListener(kind, filter);
  }
  filter(); // a browser may have kept what was chosen before
}

// The slider of a card uncovers its photograph.
function slide(input) {
  input.closest("article").querySelector(".frame").style.setProperty("--shown", `${input.value}%`);
}

document.addEventListener("input", (event) => {
  if (event.target.matches(".slider input")) slide(event.target);
});
for (const input of document.querySelectorAll(".slider input")) if (input.value !== "100") slide(input);

// A region that is pointed at or focused, in the picture or in the list, says its values.
function choose(event) {
  const one = event.target.closest ? event.target.closest("[data-region]") : null;
  if (one === null) return;
  const card = one.closest("article");
  for (const other of card.querySelectorAll("[data-region]")) {
    other.classList.toggle("chosen", other.dataset.region === one.dataset.region);
  }
  card.querySelector(".value").textContent = card.querySelector("button.chosen").dataset.text;
}

for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, choose);
