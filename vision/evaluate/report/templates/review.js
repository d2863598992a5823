"use strict";
// The page of review: a matrix whose cells lead to pictures, and what other settings would answer.
//
// `visionReviewData` comes from data.js, written by render.py. A node is a class, family, role or other answer, and goes
// by its number in `ids`; the last two are "unknown" and "no answer". Columns are base64 of little-endian arrays, one
// value a picture. Texts come from data: they are set as text, never as markup.
(() => {
  const data = window.visionReviewData;
  const byId = (id) => document.getElementById(id);
  const root = byId("review");

  function fail(text) {
    byId("fault").textContent = text;
    byId("fault").hidden = false;
  }
  if (!data || data.build !== root.dataset.build) {
    fail(data
      ? "data.js belongs to another report: keep the files of a report together. The matrix below shows the recorded answers."
      : "data.js is missing beside this page: keep the files of a report together. The matrix below shows the recorded answers.");
    return;
  }

  const PAGE_SIZE = 50;
  const NUM_SHADES = 9;
  const num = data.numRows;
  const numNodes = data.ids.length;
  const UNKNOWN = numNodes - 2;
  const NO_ANSWER = numNodes - 1;
  const Codes = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[data.codeBytes];

  function decoded(text, Kind) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Kind(bytes.buffer);
  }
  const truth = decoded(data.truth, Codes);
  const recorded = decoded(data.recorded, Codes);
  const candidates = data.candidates.map((text) => decoded(text, Codes));
  const reached = data.reached.map((text) => decoded(text, Float32Array));
  const probability = decoded(data.probability, Float32Array);
  const rank = data.noveltyRank === null ? null : decoded(data.noveltyRank, Float32Array);
  const levels = Object.fromEntries(data.levels.map((level) => [level.name, level]));
  const levelOf = new Map();
  for (const level of data.levels) for (const node of level.taxonomy) levelOf.set(node, level.name);
  const novel = new Set(data.novel);

  const state = {
    level: "class", figures: "count", order: "taxonomy", answers: recorded, settings: null,
    active: null, opened: null, opener: null, page: 0,
  };

  // --- Answers and counts -------------------------------------------------------------------------------------------

  /** Answers by a threshold and a share of false alarms; `redecided_answers` in review_data.py does the same. */
  function redecided(threshold, falseAlarms) {
    const least = Math.fround(threshold);
    const mostNovel = Math.fround(1 - falseAlarms);
    const answers = new Codes(num);
    for (let i = 0; i < num; i++) {
      if (recorded[i] === NO_ANSWER) answers[i] = NO_ANSWER;
      else if (rank !== null && rank[i] > mostNovel) answers[i] = UNKNOWN;
      else if (reached[0][i] >= least) answers[i] = candidates[0][i];
      else if (reached[1][i] >= least) answers[i] = candidates[1][i];
      else if (reached[2][i] >= least) answers[i] = candidates[2][i];
      else answers[i] = UNKNOWN;
    }
    return answers;
  }

  function countsOf(answers, level) {
    const at = levels[level].nodeAt;
    const counts = new Int32Array(numNodes * numNodes);
    for (let i = 0; i < num; i++) counts[at[truth[i]] * numNodes + at[answers[i]]]++;
    return counts;
  }

  function figuresOf(answers) {
    const family = levels.family.nodeAt;
    const role = levels.role.nodeAt;
    let answered = 0, right = 0, rightClass = 0, unknown = 0;
    for (let i = 0; i < num; i++) {
      const answer = answers[i], t = truth[i];
      if (answer === UNKNOWN) unknown++;
      else if (answer !== NO_ANSWER) {
        answered++;
        if (answer === t) rightClass++;
        if (answer === t || answer === family[t] || answer === role[t]) right++;
      }
    }
    return { answered, wrong: answered - right, rightClass, unknown };
  }

  function kindOf(trueNode, answer) {
    if (answer === trueNode) return "right";
    if (answer >= UNKNOWN) return answer === UNKNOWN && novel.has(trueNode) ? "above" : "silent";
    return answer === levels.family.nodeAt[trueNode] || answer === levels.role.nodeAt[trueNode] ? "above" : "wrong";
  }

  // --- Making elements ----------------------------------------------------------------------------------------------

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  function draw(tag, attributes = {}, text = null) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    if (text !== null) element.textContent = text;
    return element;
  }
  const { format } = new Intl.NumberFormat("en"); // toLocaleString makes one at each call
  const percent = (share, digits = 1) => Number.isFinite(share) ? `${(100 * share).toFixed(digits)}\u00a0%` : "–";
  const shorter = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const pictures = (count) => `${format(count)} picture${count === 1 ? "" : "s"}`;
  /** A text from data that cannot turn the text around it; `isolated` in pages/__init__.py does the same. */
  const isolated = (text) => (/^[\u0000-\u024f]*$/.test(text) ? text : `\u2068${text.replace(/[\u2066-\u2069]/g, "")}\u2069`);
  const plainName = (node) => isolated(data.names[node]);
  const idOf = (node) => isolated(data.ids[node]);
  const nameOf = (node) => plainName(node) + (novel.has(node) ? " (not known to the model)" : "");

  // --- The matrix ---------------------------------------------------------------------------------------------------

  const box = byId("matrix-box");
  const scroller = make("div", { class: "scroll", role: "region", "aria-label": "Confusion matrix" });
  const hint = make("div", { class: "hint", "aria-hidden": "true", hidden: "" });
  box.append(scroller, hint);
  const seenColumns = {};
  let grid = null; // what stands in the page: rows, columns, cells, layout

  function otherColumns(counts, level) {
    const isTrue = new Set(levels[level].taxonomy);
    const found = new Set();
    for (const row of isTrue) for (let c = 0; c < numNodes; c++) if (counts[row * numNodes + c] && !isTrue.has(c)) found.add(c);
    return found;
  }

  function showMatrix() {
    const counts = countsOf(state.answers, state.level);
    const rows = levels[state.level][state.order];
    // Columns that came up stay while settings are tried: a matrix that stands is only painted anew.
    const before = state.settings === null ? [] : seenColumns[state.level] ?? otherColumns(countsOf(recorded, state.level), state.level);
    seenColumns[state.level] = new Set([...before, ...otherColumns(counts, state.level)]);
    const others = [...seenColumns[state.level]].sort((a, b) => a - b);
    const columns = [...rows, ...others];
    const width = root.clientWidth;
    const key = [state.level, state.order, state.figures, width, window.innerWidth, ...columns].join();
    if (grid === null || grid.key !== key) build(key, rows, columns);
    paint(counts);
  }

  function build(key, rows, columns) {
    const hadFocus = box.contains(document.activeElement);
    const isNarrow = window.innerWidth < 560;
    const widest = Math.min(1840, window.innerWidth - (isNarrow ? 24 : 44));
    const most = isNarrow ? 13 : 28;
    const labels = columns.map((node) => shorter(data.ids[node], most));
    const longest = Math.max(...labels.map((text) => text.length), 8);
    const left = Math.round(longest * 6.7) + 18;
    const top = Math.round(longest * 6.7 * 0.766) + 30;
    const size = Math.max(22, Math.min(54, Math.floor((widest - left - 74) / columns.length)));
    const overhang = Math.max(...labels.map((text, c) => (c + 0.5 - columns.length) * size + text.length * 6.7 * 0.643 + 14), 74);
    const width = left + size * columns.length + Math.round(overhang);
    const height = top + size * rows.length + 8;
    box.classList.toggle("wide", width > root.clientWidth);
    box.style.width = width > root.clientWidth ? `${Math.min(width, widest)}px` : "";
    const svg = draw("svg", {
      class: "matrix", viewBox: `0 0 ${width} ${height}`, width, height, role: "grid", "aria-readonly": "true",
      "aria-label": `Confusion matrix by ${state.level}: rows true, columns answers`,
      "aria-rowcount": rows.length + 1, "aria-colcount": columns.length + 1,
    });
    const head = draw("g", { role: "row", "aria-rowindex": 1 });
    const corner = draw("g", { role: "columnheader", "aria-colindex": 1, "aria-label": "true class" });
    corner.append(
      draw("text", { x: left - 10, y: top - 24, "text-anchor": "end", class: "axis" }, "answer →"),
      draw("text", { x: left - 10, y: top - 8, "text-anchor": "end", class: "axis" }, "true ↓"),
    );
    head.append(corner);
    const columnNames = columns.map((node, c) => {
      const name = draw("g", { role: "columnheader", "aria-colindex": c + 2, "aria-label": nameOf(node) });
      const x = left + size * (c + 0.5) + 4 + (c >= rows.length ? 4 : 0);
      name.append(draw("text", { transform: `translate(${x} ${top - 6}) rotate(-50)`, class: "name", "aria-hidden": "true" }, labels[c]));
      name.append(draw("title", {}, nameOf(node)));
      head.append(name);
      return name.firstChild;
    });
    svg.append(head);
    grid = { key, rows, columns, size, left, top, svg, columnNames, rowNames: [], cells: [], totals: [], lines: [] };
    rows.forEach((node, r) => {
      const line = draw("g", { role: "row", "aria-rowindex": r + 2 });
      const y = top + size * r;
      const name = draw("g", { role: "rowheader", "aria-colindex": 1, "aria-label": nameOf(node) });
      name.append(draw("text", { x: left - 8, y: y + size / 2 + 4, "text-anchor": "end", class: "name", "aria-hidden": "true" }, labels[r]));
      name.append(draw("title", {}, nameOf(node)));
      const total = draw("text", { x: left + size * columns.length + 12, y: y + size / 2 + 4, class: "muted", "aria-hidden": "true" });
      grid.rowNames.push(name.firstChild);
      grid.totals.push(total);
      grid.lines.push(line);
      line.append(name, total);
      svg.append(line);
      grid.cells.push(columns.map((_, c) => drawCell(line, r, c)));
    });
    grid.ring = draw("rect", { class: "ring", width: size, height: size, visibility: "hidden" });
    svg.append(grid.ring);
    scroller.replaceChildren(...(width > widest ? [stayingNames(height, labels)] : []), svg);
    const place = state.active === null ? [0, 0] : [rows.indexOf(state.active[0]), columns.indexOf(state.active[1])];
    setActive(Math.max(place[0], 0), Math.max(place[1], 0), hadFocus);
  }

  /** The names of the rows once more, to stay in sight where the matrix is wider than the window. */
  function stayingNames(height, labels) {
    const { rows, size, left, top } = grid;
    const names = draw("svg", { class: "matrix names", width: left, height, "aria-hidden": "true" });
    names.style.setProperty("margin-bottom", `${-height}px`);
    names.append(draw("rect", { width: left - 2, height }));
    rows.forEach((node, r) => {
      const name = draw("text", { x: left - 8, y: top + size * (r + 0.5) + 4, "text-anchor": "end", class: "name" }, labels[r]);
      name.append(draw("title", {}, nameOf(node)));
      names.append(name);
      grid.rowNames[r] = name;
    });
    return names;
  }

  function drawCell(line, r, c) {
    const { size, left, top, rows } = grid;
    const cell = draw("g", { role: "gridcell", tabindex: -1, "aria-colindex": c + 2, "data-place": `${r} ${c}` });
    const x = left + size * c + (c >= rows.length ? 4 : 0), y = top + size * r;
    cell.append(draw("rect", { x, y, width: size, height: size }));
    line.append(cell);
    return cell;
  }

  /** Put the counts into the cells that stand. */
  function paint(counts) {
    const { rows, columns, cells, totals, size, left, top } = grid;
    const two = size >= 44;
    grid.hints = [];
    rows.forEach((row, r) => {
      let total = 0;
      for (const column of columns) total += counts[row * numNodes + column];
      totals[r].textContent = `n = ${format(total)}`;
      grid.hints.push(columns.map((column, c) => {
        const count = counts[row * numNodes + column];
        const share = count / total;
        const kind = kindOf(row, column);
        const cell = cells[r][c];
        const shade = Math.ceil(NUM_SHADES * Math.sqrt(share) - 1e-9);
        const rect = cell.firstChild;
        while (cell.childNodes.length > 1) cell.lastChild.remove();
        const isShaded = kind === "wrong" || kind === "silent";
        rect.setAttribute("class", total === 0 ? "none" : count === 0 ? "" : isShaded ? kind + shade : kind);
        if (count > 0) {
          const x = +rect.getAttribute("x"), y = +rect.getAttribute("y");
          const ink = isShaded && shade > 6 ? " light" : "";
          const shown = [format(count), share < 0.005 ? "<1" : (100 * share).toFixed(0)];
          if (two) shown[1] += "\u00a0%";
          if (state.figures === "share") shown.reverse();
          if (!isShaded) cell.append(draw("rect", { class: `outline ${kind}`, x: x + 2, y: y + 2, width: size - 4, height: size - 4 }));
          const room = (text) => (size - 4) / (0.62 * text.length);
          if (room(shown[0]) < 6.5 && state.figures === "count") shown[0] = `${(count / 1000).toFixed(count < 9950 ? 1 : 0)}k`;
          const fits = Math.min(13, room(shown[0]));
          if (fits >= 6) cell.append(draw("text", { class: `count${ink}`, x: x + size / 2, y: y + size / 2 + (two ? 0 : fits * 0.36), style: `font-size:${fits.toFixed(1)}px`, "aria-hidden": "true" }, shown[0]));
          if (two) cell.append(draw("text", { class: `share${ink}`, x: x + size / 2, y: y + size / 2 + 15, "aria-hidden": "true" }, shown[1]));
        }
        const said = total === 0 ? "no images" : `${format(count)} of ${format(total)} (${percent(share)})`;
        const text = `true ${nameOf(row)}, answered ${plainName(column)}: ${said}`;
        cell.setAttribute("aria-label", text);
        return text;
      }));
      grid.lines[r].querySelector(".absent")?.remove();
      if (total === 0) {
        grid.lines[r].append(draw("text", { class: "muted absent", x: left + 10, y: top + size * (r + 0.5) + 4, "aria-hidden": "true" }, "no images"));
      }
    });
  }

  function setActive(r, c, focus) {
    if (grid.active) {
      cellAt(grid.active).setAttribute("tabindex", -1);
    }
    grid.active = [r, c];
    state.active = [grid.rows[r], grid.columns[c]];
    const cell = cellAt(grid.active);
    cell.setAttribute("tabindex", 0);
    if (focus) cell.focus();
  }
  const cellAt = ([r, c]) => grid.cells[r][c];
  const placeOf = (target) => target.closest?.("[data-place]")?.dataset.place.split(" ").map(Number) ?? null;

  /** Say what a cell counts, beside it, and mark its row and column; null takes it all away. */
  function point(place, isFocus = false) {
    for (const name of box.querySelectorAll(".name.on")) name.classList.remove("on");
    hint.hidden = place === null;
    grid.ring.setAttribute("visibility", place === null ? "hidden" : "visible");
    if (place === null) return;
    const [r, c] = place;
    const rect = cellAt(place).firstChild;
    grid.rowNames[r].classList.add("on");
    grid.columnNames[c].classList.add("on");
    grid.ring.setAttribute("class", isFocus ? "ring" : "ring soft");
    for (const side of ["x", "y"]) grid.ring.setAttribute(side, rect.getAttribute(side));
    hint.textContent = grid.hints[r][c];
    const around = box.getBoundingClientRect(), at = rect.getBoundingClientRect();
    hint.style.left = `${Math.max(0, Math.min(at.left - around.left, around.width - hint.offsetWidth))}px`;
    hint.style.top = `${at.bottom - around.top + 8}px`;
  }

  box.addEventListener("pointerover", (event) => {
    const place = placeOf(event.target);
    if (place !== null) point(place);
  });
  box.addEventListener("pointerleave", () => point(box.contains(document.activeElement) ? grid.active : null, true));
  box.addEventListener("focusin", (event) => {
    const place = placeOf(event.target);
    if (place !== null) point(place, true);
  });
  box.addEventListener("focusout", () => point(null));
  scroller.addEventListener("scroll", () => { hint.hidden = true; });
  box.addEventListener("click", (event) => {
    const place = placeOf(event.target);
    if (place === null) return;
    setActive(...place, false);
    openCell();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]') ?? null;
    if (link === null || !link.hash.includes("/")) return;
    state.opener = link;
    if (link.hash === location.hash) openAddress();
  });
  box.addEventListener("keydown", (event) => {
    const lastRow = grid.rows.length - 1, lastColumn = grid.columns.length - 1;
    const [r, c] = grid.active;
    const moves = {
      ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c], ArrowDown: [r + 1, c],
      Home: [event.ctrlKey ? 0 : r, 0], End: [event.ctrlKey ? lastRow : r, lastColumn], PageUp: [0, c], PageDown: [lastRow, c],
    };
    if (event.key === "Enter" || event.key === " ") openCell();
    else if (event.key === "Escape") point(null);
    else if (event.key in moves && !event.altKey && !event.metaKey) {
      const [row, column] = moves[event.key];
      setActive(Math.max(0, Math.min(lastRow, row)), Math.max(0, Math.min(lastColumn, column)), true);
    } else return;
    event.preventDefault();
  });

  // --- Pictures of a cell -------------------------------------------------------------------------------------------

  const opened = byId("opened");
  const heading = make("h3", { id: "opened-heading", tabindex: -1 });
  const cueList = make("div");
  const cards = make("div", { class: "pictures" });
  const bars = [make("div", { class: "bar" }), make("div", { class: "bar" })];
  const evidenceSwitch = make("input", { type: "checkbox" });
  const evidence = make("label", { hidden: "" }, evidenceSwitch, " evidence maps over the pictures");
  evidenceSwitch.checked = true;
  evidenceSwitch.addEventListener("change", () => opened.classList.toggle("no-evidence", !evidenceSwitch.checked));
  const evidenceKey = make("p", { class: "muted", id: "evidence-key", hidden: "" });
  opened.append(heading, cueList, evidence, evidenceKey, bars[0], cards, bars[1]);

  const chunks = new Map();
  const arrived = new Map();
  window.visionReviewRows = (build, number, content) => {
    if (build === data.build) arrived.set(number, content);
  };
  /** Details of 1,000 pictures. A script tag, since a page from disk may not fetch. */
  function loadChunk(number) {
    if (!chunks.has(number)) {
      chunks.set(number, new Promise((resolve) => {
        const address = `rows/${String(number).padStart(3, "0")}.js`;
        const script = make("script", { src: address });
        script.onload = () => {
          if (!arrived.has(number)) fail(`${address} belongs to another report: keep the files of a report together.`);
          resolve(arrived.get(number) ?? null);
        };
        script.onerror = () => {
          fail(`${address} is missing beside this page: keep the files of a report together.`);
          chunks.delete(number);
          resolve(null);
        };
        document.head.append(script);
      }));
    }
    return chunks.get(number);
  }

  const slices = { promise: null, list: [] };
  window.visionReviewSlices = (build, list) => {
    if (build === data.build) slices.list = list.map(([name, values, codes]) => ({ name, values, codes: codes === null ? null : decoded(codes, Uint8Array) }));
  };
  /** Which picture is of which part: a file of its own, for whoever asks. */
  function loadSlices() {
    slices.promise ??= new Promise((resolve) => {
      const script = make("script", { src: "slices.js" });
      script.onload = resolve;
      script.onerror = () => {
        fail("slices.js is missing beside this page: keep the files of a report together.");
        slices.promise = null;
        resolve();
      };
      document.head.append(script);
    });
    return slices.promise;
  }

  function addressOf(level, trueNode, answer) {
    return `#${level}/${encodeURIComponent(data.ids[trueNode])}/${encodeURIComponent(data.ids[answer])}`;
  }
  function openCell() {
    state.opener = null;
    const address = addressOf(state.level, ...state.active);
    if (location.hash === address) openAddress();
    else location.hash = address; // so that "back" works, and a cell can be linked to
  }
  /** Open what the address names: LEVEL/TRUE/ANSWER, of which one may be empty, slice/NUMBER/VALUE or picture/NAME. */
  let opening = 0; // of several addresses the last one wins
  async function openAddress() {
    const turn = ++opening;
    const [kind, ...rest] = location.hash.slice(1).split("/");
    let words;
    try {
      words = rest.map(decodeURIComponent);
    } catch {
      return;
    }
    if (kind === "" && state.opened !== null) hidePictures();
    let found = null;
    if (Object.hasOwn(levels, kind) && words.length === 2) found = cellOf(kind, ...words);
    else if (kind === "slice" && words.length === 2) found = await sliceOf(...words);
    else if (kind === "picture" && words.length === 1) found = await pictureOf(words[0]);
    if (found === null || turn !== opening) return;
    state.opened = found;
    state.page = 0;
    showPictures(true);
  }

  function cellOf(level, ...ids) {
    const [trueNode, answer] = ids.map((id) => (id === "" ? null : data.ids.indexOf(id)));
    if (trueNode === -1 || answer === -1 || (trueNode === null && answer === null)) return null;
    if (level !== state.level) {
      state.level = level;
      byId(`show-level-${level}`).checked = true;
      showMatrix();
    }
    const place = [grid.rows.indexOf(trueNode), grid.columns.indexOf(answer)];
    if (place[0] >= 0 && place[1] >= 0) setActive(...place, false);
    const what = answer === null ? `${nameOf(trueNode)}, whatever was answered`
      : trueNode === null ? `Whatever was answered ${plainName(answer)}` : `${nameOf(trueNode)} answered ${plainName(answer)}`;
    return { kind: "cell", level, trueNode, answer, what };
  }
  async function sliceOf(number, value) {
    await loadSlices();
    const slice = slices.list[+number];
    if (!slice?.codes || !(+value in slice.values)) return null;
    return { kind: "slice", codes: slice.codes, value: +value, what: `${isolated(slice.name)}: ${isolated(slice.values[+value])}` };
  }
  const places = new Map(data.places);
  async function pictureOf(name) {
    for (let number = 0; !places.has(name) && number * data.chunkRows < num; number++) {
      const at = (await loadChunk(number))?.file_name.indexOf(name) ?? -1;
      if (at >= 0) places.set(name, number * data.chunkRows + at);
    }
    return places.has(name) ? { kind: "picture", place: places.get(name), what: isolated(name) } : null;
  }

  /** What an answer is as sure as: recorded, or by the settings that are tried. */
  function surenessOf(i) {
    if (state.settings === null) return probability[i];
    const answer = state.answers[i];
    const at = [0, 1, 2].find((level) => candidates[level][i] === answer);
    return at === undefined ? 1 - reached[2][i] : reached[at][i];
  }

  /** Pictures of what was opened, wrong ones first, in each the surest first. */
  function picturesOf(what) {
    if (what.kind === "picture") return [what.place];
    const rows = [];
    if (what.kind === "slice") {
      for (let i = 0; i < num; i++) if (what.codes[i] === what.value) rows.push(i);
    } else {
      const at = levels[what.level].nodeAt, { trueNode, answer } = what;
      const isOne = (wanted, node) => wanted === null || at[node] === wanted;
      for (let i = 0; i < num; i++) if (isOne(trueNode, truth[i]) && isOne(answer, state.answers[i])) rows.push(i);
    }
    const keys = new Map(rows.map((i) => {
      const sureness = surenessOf(i);
      return [i, (Number.isNaN(sureness) ? -1 : sureness) - (isMixed(what) && state.answers[i] === truth[i] ? 2 : 0)];
    }));
    return rows.sort((a, b) => keys.get(b) - keys.get(a) || a - b);
  }
  const isMixed = (what) => what.kind === "slice" || what.trueNode === null || what.answer === null;
  const orderOf = (what) => (isMixed(what) ? "wrong ones first, in each part the surest first" : "surest first");

  let showing = 0; // of several calls the last one wins
  async function showPictures(moveFocus) {
    const turn = ++showing;
    const { trueNode, answer } = state.opened;
    const rows = picturesOf(state.opened);
    const numPages = Math.max(1, Math.ceil(rows.length / PAGE_SIZE));
    state.page = Math.min(state.page, numPages - 1);
    const shown = rows.slice(state.page * PAGE_SIZE, (state.page + 1) * PAGE_SIZE);
    const first = state.page * PAGE_SIZE + 1;
    const { what } = state.opened;
    heading.textContent = state.opened.kind === "picture" ? what : rows.length ? `${what}: ${pictures(rows.length)}` : `${what}: no picture`;
    const cues = data.cues.filter(([a, b]) => (a === trueNode && b === answer) || (b === trueNode && a === answer));
    cueList.replaceChildren(...cues.flatMap(([, , texts]) => texts).map((text) => make("p", { class: "cue" }, `What separates them: ${text}`)));
    bars.forEach((bar, position) => fillBar(bar, numPages, rows.length, first, shown.length, position === 1));
    opened.hidden = false;
    const numbers = [...new Set(shown.map((i) => Math.floor(i / data.chunkRows)))];
    const loaded = new Map();
    await Promise.all(numbers.map(async (number) => loaded.set(number, await loadChunk(number))));
    if (turn !== showing) return;
    cards.replaceChildren(...shown.map((i) => card(i, loaded.get(Math.floor(i / data.chunkRows)))));
    evidence.hidden = cards.querySelector(".evidence") === null;
    evidenceKey.hidden = data.numMaps === 0;
    const made = `Maps were made for ${format(data.numMaps)} of ${format(data.numWrong)} wrong answers, the surest first; right answers have none.`;
    const colours = "Evidence maps: orange places spoke for the one class that is named below the picture, blue ones for the other; clear ones for neither.";
    evidenceKey.textContent = evidence.hidden ? `No evidence map here. ${made}` : `${colours} ${made}`;
    const range = rows.length > 1 ? `, ${first} to ${first + shown.length - 1}, ${orderOf(state.opened)}` : "";
    byId("said").textContent = `${heading.textContent}${range}.`;
    if (!moveFocus) return;
    heading.focus({ preventScroll: true });
    opened.scrollIntoView({ block: "start" });
  }

  function fillBar(bar, numPages, count, first, numShown, isLower) {
    const turn = (text, step) => {
      const button = make("button", { type: "button" }, text);
      button.disabled = state.page + step < 0 || state.page + step >= numPages;
      button.addEventListener("click", () => {
        state.page += step;
        showPictures(true);
      });
      return button;
    };
    const back = make("button", { type: "button" }, `back to the ${state.opener ? "list" : "matrix"} (Esc)`);
    back.addEventListener("click", closePictures);
    const where = make("span", {}, count ? `${format(first)} – ${format(first + numShown - 1)} of ${format(count)}, ${orderOf(state.opened)}` : "No picture got this answer.");
    bar.hidden = isLower && numPages === 1;
    where.hidden = state.opened.kind === "picture";
    bar.replaceChildren(...(numPages > 1 ? [turn("‹ previous", -1), turn("next ›", 1)] : []), where, back);
  }

  function hidePictures() {
    showing++;
    state.opened = null;
    opened.hidden = true;
    cards.replaceChildren();
    if (location.hash.includes("/")) history.replaceState(null, "", location.href.split("#")[0]);
  }
  function closePictures() {
    hidePictures();
    byId("said").textContent = `Back at the ${state.opener ? "list" : "matrix"}.`;
    (state.opener ?? cellAt(grid.active)).focus();
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !opened.hidden && !box.contains(event.target)) closePictures();
  });

  const isAbsolute = (name) => name.startsWith("/");
  function originalOf(name) {
    if (data.images === null || !areOriginalsThere) return null;
    const path = name.split("/").map(encodeURIComponent).join("/");
    return isAbsolute(name) ? `file://${path}` : `${data.images}/${path}`;
  }
  let areOriginalsThere = true;
  let isAsked = false;
  /** Ask once, with a picture that was there when the report was made: a report that was mailed has no originals. */
  function askForOriginals(address) {
    if (isAsked) return;
    isAsked = true;
    const image = new Image();
    image.onerror = () => {
      areOriginalsThere = false;
      for (const link of cards.querySelectorAll("a.original")) link.removeAttribute("href");
      for (const text of cards.querySelectorAll(".body > .original")) text.remove();
      root.append(make("p", { class: "muted", id: "no-originals" }, "The original pictures do not lie where this report was made: it has been moved without them, and shows thumbnails alone."));
    };
    image.src = address;
  }
  const isWebAddress = (text) => /^https?:\/\//i.test(text);

  function card(i, chunk) {
    const article = make("article", { class: "picture" });
    if (chunk === null) {
      article.append(make("div", { class: "body" }, "The details of this picture are missing."));
      return article;
    }
    const at = i % data.chunkRows;
    const text = (column) => chunk.texts[chunk[column][at]] ?? "";
    const list = (column) => chunk[column][at].map((place) => chunk.texts[place] ?? "");
    const name = chunk.file_name[at];
    const original = originalOf(name);
    const [map, mapFor, mapAgainst] = chunk.overlay[at];
    const mapText = mapFor ? `evidence map: orange for ${mapFor}, blue for ${mapAgainst}` : "evidence map: orange for the answer, blue against it";
    if (original !== null && !text("error") && !text("fault")) askForOriginals(original);
    const view = make(original === null ? "div" : "a", { class: "view original", ...(original === null ? {} : { href: original, target: "_blank", rel: "noreferrer" }) });
    if (chunk.has_thumbnail[at]) {
      const alt = `true ${idOf(truth[i])}, answered ${idOf(state.answers[i])}: ${name}`;
      view.append(make("img", { src: `thumbnails/${String(i).padStart(6, "0")}.jpg`, alt, loading: "lazy" }));
      if (map !== undefined) view.append(make("img", { src: map, alt: mapText, class: "evidence", loading: "lazy" }));
    } else {
      const why = text("fault") || text("error") || (original === null ? "the picture is not at hand" : "no thumbnail; open the original");
      view.append(make("div", { class: "gone" }, why));
    }
    const facts = make("dl");
    const fact = (term, ...content) => facts.append(make("dt", {}, term), make("dd", {}, ...content));
    const answerText = (node) => `${idOf(node)}${levelOf.has(node) && levelOf.get(node) !== "class" ? ` (${levelOf.get(node)})` : ""}`;
    fact("truth", `${idOf(truth[i])}${chunk.top[at].length ? `, probability ${percent(chunk.truth_probability[at])}` : ""}`);
    if (state.settings !== null) fact("answer now", `${answerText(state.answers[i])}, ${percent(surenessOf(i))}`);
    fact(state.settings === null ? "answer" : "recorded", `${answerText(recorded[i])}${Number.isNaN(probability[i]) ? "" : `, ${percent(probability[i])}`}`);
    if (text("error")) fact("fault", text("error"));
    if (text("reason")) fact("because", text("reason"));
    if (chunk.top[at].length) fact("most probable", list("top").map((id, n) => `${isolated(id)} ${percent(chunk.top_probability[at][n])}`).filter((_, n) => n < 2 || chunk.top_probability[at][n] >= 0.001).join(", "));
    if (chunk.label_set[at].length) fact("label set", list("label_set").map(isolated).join(", "));
    if (rank !== null && !Number.isNaN(rank[i])) fact("novelty", `more novel than ${percent(Math.floor(1000 * rank[i]) / 1000)} of held-out known pictures`);
    const isOfMap = (node) => mapFor && [mapFor, mapAgainst].includes(data.ids[node]);
    const ofMap = data.cues.filter(([a, b]) => isOfMap(a) && isOfMap(b)).flatMap(([, , texts]) => texts);
    for (const cue of new Set([...list("cues"), ...ofMap])) fact("check", cue);
    const attributions = list("nearest_attribution"), classes = list("nearest_class");
    list("nearest").forEach((near, n) => fact(n ? "" : "nearest in training", make("b", {}, classes[n]), ` ${chunk.similarity[at][n]} `, make("code", {}, near), attributions[n] ? `: ${attributions[n]}` : ""));
    const credit = [isolated(text("title")), text("author") && `by ${isolated(text("author"))}`, isolated(text("licence"))].filter(Boolean).join(", ");
    const source = text("source_url");
    fact("picture", isWebAddress(source) ? make("a", { href: source, rel: "noreferrer", target: "_blank" }, credit || "source") : credit || "no attribution in the predictions");
    const body = make("div", { class: "body" }, make("code", { class: "file" }, name), facts);
    if (original !== null) body.append(make("a", { class: "original", href: original, target: "_blank", rel: "noreferrer" }, "original"));
    article.append(view);
    if (map !== undefined && chunk.has_thumbnail[at]) {
      const mark = (side, what) => make("span", { class: side }, what);
      article.append(mapFor
        ? make("div", { class: "map-key evidence" }, mark("for", `orange: for ${mapFor}`), mark("against", `blue: for ${mapAgainst}`))
        : make("div", { class: "map-key evidence" }, mark("for", "orange: for the answer"), mark("against", "blue: against it"), "Which classes were compared was not recorded."));
    }
    article.append(body);
    return article;
  }

  // --- Switches and sliders -----------------------------------------------------------------------------------------

  function choice(name, legend, options, onChange) {
    const row = make("span", { class: "choice" });
    for (const [value, text] of options) {
      const input = make("input", { type: "radio", name: `show-${name}`, id: `show-${name}-${value}`, value });
      input.checked = state[name] === value;
      input.addEventListener("change", () => {
        state[name] = value;
        onChange();
      });
      row.append(input, make("label", { for: input.id }, text));
    }
    return make("fieldset", {}, make("legend", {}, legend), row);
  }
  byId("controls").append(
    choice("level", "level", data.levels.map(({ name }) => [name, name]), () => {
      if (state.opened?.kind === "cell" && state.opened.level !== state.level) hidePictures();
      showMatrix();
    }),
    choice("figures", "figures", [["count", "counts"], ["share", "row %"]], showMatrix),
    choice("order", "order", [["taxonomy", "taxonomy"], ["confusion", "confusion"]], showMatrix),
  );

  const ALARM_STOPS = [0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5];
  const hasTargets = data.targets.length > 0;
  const alarmStops = [...new Set([...ALARM_STOPS, data.falseAlarms])].sort((a, b) => a - b);
  const targetStops = hasTargets
    ? data.targets.map(([target, threshold, isPromised]) => ({ target, threshold, isPromised }))
    : Array.from({ length: 101 }, (_, step) => ({ target: null, threshold: step / 100, isPromised: false }));
  const nearest = (values, wanted) => values.reduce((best, value, at) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? at : best), 0);
  const firstStops = {
    target: hasTargets ? nearest(targetStops.map((stop) => stop.target), data.targetAccuracy) : nearest(targetStops.map((stop) => stop.threshold), data.threshold),
    alarms: alarmStops.indexOf(data.falseAlarms),
  };

  function slider(id, text, length, first) {
    const input = make("input", { type: "range", id, min: 0, max: length - 1, step: 1 });
    input.value = first;
    const output = make("output", { for: id });
    const below = make("div", { class: "muted" });
    return { input, output, below, box: make("div", { class: "slider" }, make("label", { for: id }, `${text} `, output), input, below) };
  }
  const target = slider("slider-target", hasTargets ? "Target accuracy of answers:" : "Answers need a probability of at least", targetStops.length, firstStops.target);
  const alarms = slider("slider-alarms", "False alarms of novelty:", alarmStops.length, firstStops.alarms);
  const reset = make("button", { type: "button", id: "recorded-answers" }, "recorded answers");
  const shownFigures = make("tbody");
  const decide = byId("decide");
  const note = make("p", { class: "muted", id: "decide-note" });

  function setUpSliders() {
    const said = [];
    if (hasTargets) said.push(`Thresholds come from pictures of known classes that were kept from the model's training, not from these. One is promised where ${percent(data.confidence, 0)} of such fits keep the target on further pictures like those.`);
    else said.push("The model's settings do not lie beside these predictions: this is a plain threshold on probability, and stands for no target accuracy.");
    said.push("The shares are of these pictures: a setting that is chosen by them will look better here than elsewhere.");
    if (data.numUnlike > 0) said.push(`At the sliders' first places, ${pictures(data.numUnlike)} of ${format(num)} would be answered otherwise than recorded.`);
    if (!data.isWhole) said.push("Not all classes are listed for each picture; families and roles are summed over those listed.");
    if (rank === null) said.push("There are no novelty ranks, so false alarms cannot be set.");
    note.textContent = said.join(" ");
    const head = make("tr", {}, ...["of these pictures", "recorded", "with these settings"].map((text) => make("th", { scope: "col" }, text)));
    decide.setAttribute("role", "group");
    decide.setAttribute("aria-label", "What other settings would answer");
    decide.append(
      make("div", { class: "sliders" }, make("b", {}, "What other settings would answer"), target.box, ...(rank === null ? [] : [alarms.box]), reset),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of what the settings answer" }, make("table", { class: "tight" }, make("thead", {}, head), shownFigures)), note,
    );
    for (const { input } of [target, alarms]) input.addEventListener("input", () => { trySettings(); schedule(); });
    reset.addEventListener("click", () => {
      target.input.value = firstStops.target;
      alarms.input.value = firstStops.alarms;
      state.settings = null;
      schedule();
    });
    decide.hidden = false;
    showSettings();
  }
  function trySettings() {
    state.settings = { ...targetStops[+target.input.value], falseAlarms: alarmStops[+alarms.input.value] };
  }

  let isScheduled = false;
  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      state.answers = state.settings === null ? recorded : redecided(state.settings.threshold, state.settings.falseAlarms);
      showSettings();
      showMatrix();
      if (state.opened !== null) showPictures(false);
    });
  }

  function showSettings() {
    const isChanged = state.settings !== null;
    const stop = targetStops[+target.input.value];
    const needed = stop.threshold > 1 ? "no threshold keeps it: nothing is answered" : `answers need a probability of at least ${percent(stop.threshold)}; ${stop.isPromised ? "promised" : "best effort, not promised"}`;
    const texts = [percent(hasTargets ? stop.target : stop.threshold), percent(alarmStops[+alarms.input.value])];
    target.below.textContent = hasTargets ? needed : "";
    alarms.below.textContent = "share of known pictures, held out of training, that would be called unknown";
    [target, alarms].forEach((each, at) => {
      const text = isChanged || hasTargets ? texts[at] : "as recorded";
      each.output.textContent = text;
      each.input.setAttribute("aria-valuetext", `${text}, ${each.below.textContent}`);
    });
    decide.classList.toggle("changed", isChanged);
    reset.disabled = !isChanged;
    const figures = [figuresOf(recorded), ...(isChanged ? [figuresOf(state.answers)] : [])];
    const rows = [
      ["coverage: answered with a class, family or role", (f) => percent(f.answered / num), (f) => `${format(f.answered)} of ${format(num)}`],
      ["risk: wrong among these", (f) => percent(f.wrong / f.answered), (f) => (f.answered ? `${format(f.wrong)} of ${format(f.answered)}` : "nothing answered")],
      ["right class named", (f) => percent(f.rightClass / num), (f) => format(f.rightClass)],
      ["unknown", (f) => percent(f.unknown / num), (f) => format(f.unknown)],
    ];
    const shown = (f, share, counts) => (f ? [make("b", {}, share(f)), make("span", { class: "muted" }, ` ${counts(f)}`)] : ["as recorded"]);
    shownFigures.replaceChildren(...rows.map(([text, share, counts]) => make("tr", {}, make("td", {}, text), ...[0, 1].map((at) => make("td", {}, ...shown(figures[at], share, counts))))));
    if (isChanged) byId("said").textContent = `${rows[0][1](figures[1])} answered, ${rows[1][1](figures[1])} of these wrong.`;
  }

  // --- Start --------------------------------------------------------------------------------------------------------

  for (const id of ["controls", "matrix-box", "how-to"]) byId(id).hidden = false;
  showMatrix();
  byId("static").remove(); // last, so that a fault above leaves it
  if (data.numLeftOut > 0) {
    const wrong = data.numWrongLeftOut ? `, ${format(data.numWrongLeftOut)} of them answered wrongly` : "";
    root.append(make("p", { class: "muted", id: "left-out" }, `Thumbnails were made for ${format(data.numThumbnails)} pictures, wrong ones first. ${pictures(data.numLeftOut)} have none${wrong}; they link to the original where it is at hand.`));
  }
  if (data.canDecide) setUpSliders();
  /** What has nothing to scroll is no stop for the keyboard. */
  function markScrollers() {
    for (const each of document.querySelectorAll(".scroll[tabindex]")) each.tabIndex = each.scrollWidth > each.clientWidth ? 0 : -1;
  }
  markScrollers();
  addEventListener("hashchange", openAddress);
  let width = window.innerWidth;
  addEventListener("resize", () => {
    if (window.innerWidth !== width) requestAnimationFrame(() => { showMatrix(); markScrollers(); });
    width = window.innerWidth;
  });
  openAddress();
  root.dataset.ready = "";
  performance.mark("review-ready");
})();
