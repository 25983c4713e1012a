"use strict";
(() => {
  const config = {
    responsive: true, displaylogo: false, showTips: false,
    modeBarButtons: [["toImage", "resetScale2d"]],
  };
  const coarse = matchMedia("(pointer: coarse)").matches;
  const plots = [...document.querySelectorAll(".plot")];

  function canDrawWebgl() {
    try {
      const found = document.createElement("canvas").getContext("webgl");
      if (found) found.getExtension("WEBGL_lose_context")?.loseContext();
      return Boolean(found);
    } catch {
      return false;
    }
  }

  function draw(place) {
    if (place.dataset.drawn) return;
    place.dataset.drawn = "yes";
    place.classList.remove("waiting");
    if (place.dataset.webgl !== undefined && !canDrawWebgl()) {
      place.classList.add("refused");
      place.textContent = "This picture needs WebGL, which this browser has switched off. The table has the numbers.";
      return;
    }
    const small = coarse || place.closest(".grid") !== null;
    const figure = JSON.parse(document.getElementById("figure-" + place.dataset.figure).textContent);
    // A finger that scrolls the page must not zoom into a picture.
    if (coarse) figure.layout.dragmode = false;
    Plotly.newPlot(place, figure.data, figure.layout, { ...config, displayModeBar: small ? false : "hover" });
  }

  // What is near the screen first, the rest when nothing else is to be done: the page answers at once.
  for (const place of plots) place.classList.add("waiting");
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  for (const place of plots) seen.observe(place);
  const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 60));
  function drawNext() {
    const next = plots.find((place) => !place.dataset.drawn);
    if (next) { draw(next); later(drawNext); } else document.documentElement.dataset.ready = "yes";
  }
  later(drawNext);

  // Paper is narrower than most screens: pictures are laid out anew for it, and back afterwards.
  const paper = matchMedia("print");
  function toPaper() {
    for (const place of plots) {
      draw(place);
      if (place.classList.contains("js-plotly-plot")) {
        Plotly.relayout(place, { width: Math.floor(place.parentElement.clientWidth), height: place.clientHeight });
      }
    }
  }
  function toScreen() {
    for (const place of plots) {
      if (place.classList.contains("js-plotly-plot")) Plotly.relayout(place, { width: null, height: null, autosize: true });
    }
  }
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", toScreen);
  paper.addEventListener("change", (event) => (event.matches ? toPaper() : toScreen()));

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.querySelectorAll("thead th")];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const falls = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const numeric = head.classList.contains("number");
        const value = (row) => {
          const cell = row.cells[column];
          return numeric ? Number(cell.dataset.order ?? NaN) : cell.textContent;
        };
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (!numeric) return (falls ? -1 : 1) * x.localeCompare(y);
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          return (falls ? -1 : 1) * (x - y);
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
