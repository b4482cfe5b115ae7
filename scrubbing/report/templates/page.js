"use strict";
// The page's own script. All that it shows of names and tokens it shows as text: nothing is ever read as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const remembered = (key, value) => {
    try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); } catch { return null; }
  };

  // Light and dark: the reader's choice, at first that of the system.
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const redraw = [];
  const paint = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    charts();
    redraw.forEach((draw) => draw());
  };
  const chosen = () => remembered("scrubbing-theme") || (system.matches ? "dark" : "light");
  button.addEventListener("click", () => {
    remembered("scrubbing-theme", root.dataset.theme === "dark" ? "light" : "dark");
    paint(root.dataset.theme === "dark" ? "light" : "dark");
  });
  system.addEventListener("change", () => paint(chosen()));

  function charts() {
    const options = { renderer: "svg", actions: false, ast: true, config: { ...data.config[root.dataset.theme], aria: false, mark: { aria: false } }, tooltip: { theme: root.dataset.theme } };
    for (const [id, chart] of Object.entries(data.charts)) {
      vegaEmbed("#" + id, structuredClone(chart), options).catch((error) => {
        document.getElementById(id).textContent = "The chart cannot be drawn: " + error.message;
      });
    }
  }

  // The table: filter and sort.
  const table = document.getElementById("table"), rows = all("tbody tr", table), count = document.getElementById("count");
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const fits = (element) => element.dataset.name.includes(wanted);
    all("tbody tr", table).concat(all("details.hypothesis")).forEach((element) => { element.hidden = !fits(element); });
    count.textContent = wanted ? rows.filter(fits).length + " of " + rows.length : "";
  });
  all("thead th", table).forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    all("thead th", table).forEach((other) => other.setAttribute("aria-sort", other === head ? (up ? "ascending" : "descending") : "none"));
    const value = (row) => {
      const cell = row.children[column], held = cell.dataset.value;
      return held === undefined ? cell.textContent.trim().toLowerCase() : held === "" ? -Infinity : Number(held);
    };
    rows.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (up ? 1 : -1));
    table.tBodies[0].append(...rows);
  }));

  // Hypotheses: fold, unfold, and links to one of them.
  const hypotheses = all("details.hypothesis");
  document.getElementById("open").addEventListener("click", () => hypotheses.forEach((h) => { h.open = true; }));
  document.getElementById("close").addEventListener("click", () => hypotheses.forEach((h) => { h.open = false; }));
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details.hypothesis")) { target.hidden = false; target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", follow);
  hypotheses.forEach((h) => h.addEventListener("toggle", () => {
    if (!h.open || h.dataset.filled) return;
    h.dataset.filled = "yes";
    const held = data.sections[h.id];
    if (held.passages.length) passages(h.querySelector(".passages"), held.passages, h.id);
    if (held.attention.length) patterns(h.querySelector(".patterns"), held.attention, held.passages, h.id);
  }));
  let opened = [];
  addEventListener("beforeprint", () => { opened = all("details:not([open])"); opened.forEach((d) => { d.open = true; }); });
  addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));

  const choice = (legend, name, options, changed) => {
    const field = make("fieldset", {}, make("legend", { textContent: legend }));
    options.forEach(([value, label], i) => {
      const radio = make("input", { type: "radio", name, value, checked: i === 0 });
      radio.addEventListener("change", () => changed(value));
      field.append(make("label", {}, radio, " " + label));
    });
    return field;
  };

  // A passage: each word on the colour of its loss; what was predicted, on hover or by the arrow keys.
  function passages(place, held, id) {
    let row = 0, mode = held[0].scrubbed ? "added" : "own", at = -1;
    const words = make("div", { className: "words", tabIndex: 0 });
    words.setAttribute("role", "group");
    words.setAttribute("aria-label", "Passage; the arrow keys go from word to word");
    const token = make("div", { className: "token" });
    token.setAttribute("role", "status");
    const scale = make("span", { className: "scale" });
    const modes = held[0].scrubbed ? [["added", "added by scrubbing"], ["scrubbed", "scrubbed"], ["own", "original"]] : [["own", "original"]];
    const controls = make("div", { className: "controls" },
      choice("Row", id + "-row", held.map((p, i) => [String(i), String(p.row)]), (value) => { row = Number(value); at = -1; draw(); }),
      choice("Loss", id + "-loss", modes, (value) => { mode = value; draw(); }), scale);
    const value = ([, losses]) => !losses ? null : mode === "own" ? losses[0] : mode === "scrubbed" ? losses[1] : losses[1] - losses[0];
    const largest = 6;
    const colour = (v) => {
      const strength = Math.min(1, Math.abs(v) / (mode === "added" ? 4 : largest));
      return `color-mix(in srgb, var(${v > 0 ? "--worse" : "--accent"}) ${Math.round(55 * strength)}%, transparent)`;
    };
    const top = (label, entries) => {
      const line = make("div", {}, label + ": ");
      entries.forEach(([name, p]) => line.append(make("code", { textContent: name }), " " + (100 * p).toFixed(1) + "%  "));
      return line;
    };
    const tell = (i) => {
      all(".at", words).forEach((span) => span.classList.remove("at"));
      const word = held[row].words[i];
      if (!word) { token.replaceChildren("Hover over a word, or go through them with the arrow keys."); return; }
      at = i;
      words.children[i].classList.add("at");
      const [name, losses, own, scrubbed] = word;
      const head = make("div", {}, "position " + i + ": ", make("code", { textContent: name }));
      if (!losses) { token.replaceChildren(head, make("div", { textContent: "not evaluated" })); return; }
      head.append(" loss " + losses.map((l) => l.toFixed(3)).join(" originally, ") + (losses.length > 1 ? " scrubbed" : ""));
      token.replaceChildren(head, top("original", own), ...(scrubbed ? [top("scrubbed", scrubbed)] : []));
    };
    const draw = () => {
      words.replaceChildren(...held[row].words.map((word, i) => {
        const v = value(word), shown = word[0];
        const span = make("span", { className: v === null ? "out" : "in" });
        for (const c of shown) {
          span.append("·↵→".includes(c) ? make("span", { className: "mark", textContent: c }) : c);
          if (c === "↵") span.append("\n");
        }
        if (v !== null) span.style.background = colour(v);
        span.addEventListener("mouseenter", () => tell(i));
        return span;
      }));
      const end = mode === "added" ? 4 : largest, bar = make("i");
      bar.style.background = mode === "added" ? `linear-gradient(90deg, ${colour(-end)}, transparent, ${colour(end)})` : `linear-gradient(90deg, transparent, ${colour(end)})`;
      scale.replaceChildren(mode === "added" ? "-" + end : "0", bar, "+" + end + " nats");
      tell(at);
    };
    words.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key];
      if (!step) return;
      event.preventDefault();
      tell(Math.max(0, Math.min(held[row].words.length - 1, at + step)));
      words.children[at].scrollIntoView({ block: "nearest" });
    });
    place.append(make("h3", { textContent: "Token by token" }), controls, words, token);
    draw();
  }

  // Attention patterns: one head, of the original run and of the scrubbed one.
  function patterns(place, held, texts, id) {
    const heads = [...new Map(held.map((e) => [e.node + " " + e.head, e])).keys()];
    const scrubbed = new Set(held.filter((e) => e.run === "scrubbed").map((e) => e.node + " " + e.head));
    heads.sort((a, b) => scrubbed.has(b) - scrubbed.has(a));
    const rows = [...new Set(held.map((e) => e.row))].sort((a, b) => (a === null) - (b === null));
    let head = heads[0], row = rows[0];
    const select = make("select", {}, ...heads.map((name) => make("option", { value: name, textContent: name.replace(/ (\d+)$/, ", head $1") + (scrubbed.has(name) ? "" : " (not claimed)") })));
    select.addEventListener("change", () => { head = select.value; draw(); });
    const label = (r) => r === null ? "mean of " + held.find((e) => e.row === null).rows + " rows" : "row " + r;
    const told = make("div", { className: "small" });
    told.setAttribute("role", "status");
    const pair = make("div", { className: "pair" });
    const words = (r) => (texts.find((p) => p.row === r) || { words: [] }).words;
    const paintOne = (entry, run) => {
      const figure = make("figure"), canvas = make("canvas", { width: 1, height: 1 });
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "Attention of " + head + ", " + run + ", " + label(row) + "; the arrow keys move over it");
      if (!entry) return make("figure", {}, make("p", { className: "small", textContent: "The scrubbed run does not visit this head: unclaimed, it runs on other rows." }));
      const image = new Image(), grey = { of: null, size: 0 };
      let q = 0, k = 0;
      image.onload = () => {
        const size = image.width, context = canvas.getContext("2d");
        canvas.width = canvas.height = size;
        context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, size, size);
        grey.of = pixels.data.filter((_, i) => i % 4 === 0);
        grey.size = size;
        const ink = getComputedStyle(root).getPropertyValue("--accent").trim();
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(ink.slice(i, i + 2), 16));
        grey.of.forEach((v, i) => pixels.data.set([r, g, b, Math.round(255 * Math.sqrt(v / 255))], 4 * i));
        context.putImageData(pixels, 0, 0);
      };
      image.src = data.images[entry.image];
      const name = (i) => { const w = words(row); return i === 0 || !w[i - 1] ? "" : " “" + w[i - 1][0] + "”"; };
      const tell = () => {
        if (grey.of) told.textContent = `${run}: query ${q}${name(q)} attends to key ${k}${name(k)} by ${(grey.of[q * grey.size + k] / 255).toFixed(2)}`;
      };
      canvas.addEventListener("mousemove", (event) => {
        if (!grey.of) return;
        const box = canvas.getBoundingClientRect();
        k = Math.min(grey.size - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * grey.size)));
        q = Math.min(grey.size - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * grey.size)));
        tell();
      });
      canvas.addEventListener("keydown", (event) => {
        const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
        if (!step) return;
        event.preventDefault();
        q = Math.min(grey.size - 1, Math.max(0, q + step[0]));
        k = Math.min(grey.size - 1, Math.max(0, k + step[1]));
        tell();
      });
      figure.append(canvas, make("figcaption", { textContent: run + ", " + label(row) }));
      return figure;
    };
    const draw = () => {
      const find = (run) => held.find((e) => e.run === run && e.node + " " + e.head === head && e.row === row);
      pair.replaceChildren(paintOne(find("original"), "original"), paintOne(find("scrubbed"), "scrubbed"));
      told.textContent = "Queries go down, keys to the right; hover for the tokens.";
    };
    place.append(make("h3", { textContent: "Attention" }),
      make("div", { className: "controls" }, make("label", {}, "Head ", select),
        choice("On", id + "-attention", rows.map((r) => [String(r), label(r)]), (value) => { row = value === "null" ? null : Number(value); draw(); })),
      pair, told);
    draw();
    redraw.push(draw);
  }

  paint(chosen());
  follow();
})();
