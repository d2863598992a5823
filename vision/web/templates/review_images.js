"use strict";
// The page of `vision data review`: one picture at a time, decided by a key.
//
// A keypress shows the next picture at once; its decision is sent behind, one request after the other. What is not on the
// disk yet is counted, and if it cannot be written nothing more can be decided until it is. Texts come from data: they
// are set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const num = data.codes.length;
  const codes = data.codes.split("");
  const OPEN = ".";
  const SKIPPED = "s";
  const AHEAD = 5; // pictures that are loaded before they are asked for
  const KEPT = 30; // pictures that stay loaded
  const GRID = 12; // pictures side by side
  const ITEMS = 24; // descriptions that are asked for at once
  const NAMES = { k: "keep", r: "reject", n: "not this class", i: "interior or detail", m: "model or toy", w: "wreck", s: "skipped", ".": "not decided" };
  const KEYS = { 1: "k", 2: "r", 3: "n", 4: "i", 5: "m", 6: "w", k: "k", r: "r", n: "n", i: "i", m: "m", w: "w", s: "s", "/": "n" };

  const items = new Map(); // position -> description
  const fetching = new Map(); // position -> promise of its description
  const pictures = new Map(); // position -> { image, state: loading | ready | failed, fault }
  const state = { position: 0, shown: -1, unsent: [], sending: false, stuck: false, pressedAt: null, grid: null };

  function element(name, text, ...classes) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    made.classList.add(...classes);
    return made;
  }

  // --- The order --------------------------------------------------------------------------------------------------------

  const isOpen = (position) => codes[position] === OPEN;

  /** Where a decision leads: the next picture that waits; when all are decided, the end. */
  function following(position) {
    if (data.again) return position + 1;
    for (let each = position + 1; each < num; each++) if (isOpen(each)) return each;
    for (let each = 0; each < position; each++) if (isOpen(each)) return each;
    return num;
  }

  /** The pictures that will be asked for soon, most likely first. */
  function soon() {
    const wanted = [state.position];
    for (let next = state.position, left = AHEAD; left > 0; left--) {
      next = following(next);
      if (next >= num || wanted.includes(next)) break;
      wanted.push(next);
    }
    for (const near of [state.position + 1, state.position - 1]) if (near >= 0 && near < num) wanted.push(near);
    return [...new Set(wanted)].filter((position) => position < num);
  }

  // --- What the server is asked -----------------------------------------------------------------------------------------

  async function asked(path, body) {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(30000) });
    if (!answer.ok) {
      const text = await answer.text();
      let detail = text;
      try {
        const told = JSON.parse(text).detail;
        detail = typeof told === "string" ? told : JSON.stringify(told);
      } catch { /* plain text */ }
      throw new Error(detail);
    }
    return answer.json();
  }

  /** Descriptions of these positions, and of some after them, so that they are here before they are wanted. */
  function need(positions) {
    const missing = positions.filter((position) => !items.has(position) && !fetching.has(position));
    if (missing.length === 0) return;
    let next = missing[missing.length - 1];
    for (let step = missing.length; step < ITEMS; step++) { // the way ahead may be a circle of pictures that are here
      next = following(next);
      if (next >= num || missing.includes(next)) break;
      if (!items.has(next) && !fetching.has(next)) missing.push(next);
    }
    const coming = asked("items?" + missing.map((position) => `position=${position}`).join("&")).then((found) => {
      for (const item of found) items.set(item.position, item);
    }).finally(() => missing.forEach((position) => fetching.delete(position)));
    missing.forEach((position) => fetching.set(position, coming));
  }

  async function described(position) {
    need([position]);
    if (fetching.has(position)) await fetching.get(position);
    return items.get(position);
  }

  /** The picture of a position, loaded and decoded ahead so that showing it costs nothing. */
  function loaded(position) {
    const known = pictures.get(position);
    if (known) return known;
    const entry = { image: new Image(), state: "loading", fault: "" };
    pictures.set(position, entry);
    entry.ready = (async () => {
      try {
        const item = await described(position);
        entry.image.alt = `${className(item.label)}: ${item.title || item.file_name}`;
        entry.image.src = `pictures/${item.row}`;
        await entry.image.decode();
        entry.state = "ready";
      } catch {
        entry.state = "failed";
        const item = items.get(position);
        entry.fault = item ? await faultOf(item) : "The server does not answer.";
        if (!item) pictures.delete(position); // tried again when it is asked for again
      }
    })();
    return entry;
  }

  async function faultOf(item) {
    try {
      const answer = await fetch(`pictures/${item.row}`);
      return answer.ok ? "The browser cannot show this picture." : (await answer.json()).detail;
    } catch {
      return "The server does not answer.";
    }
  }

  function loadAhead() {
    const wanted = soon();
    need(wanted);
    wanted.forEach(loaded);
    for (const position of [...pictures.keys()]) {
      if (pictures.size <= KEPT) break;
      if (!wanted.includes(position)) pictures.delete(position);
    }
  }

  // --- Showing ----------------------------------------------------------------------------------------------------------

  const className = (id) => data.classes[id]?.name ?? (id || "no label");

  async function go(position) {
    state.position = Math.max(0, Math.min(num, position));
    state.shown = -1;
    state.grid = null;
    byId("note").value = items.get(state.position)?.note ?? "";
    showProgress();
    if (state.position === num) return showEnd();
    const shown = state.position;
    const entry = loaded(shown);
    if (entry.state !== "ready" || !items.has(shown)) {
      showSaid(items.get(shown), entry.state === "failed" ? entry.fault : "loading …");
      await entry.ready;
      if (state.position !== shown) return undefined;
    }
    if (!items.has(shown)) return showSaid(undefined, "The server does not answer. Is `vision data review` still running?");
    if (entry.state === "ready") byId("stage").replaceChildren(entry.image, ...boxOver(items.get(shown), entry.image));
    else showSaid(items.get(shown), entry.fault);
    state.shown = shown;
    showItem(items.get(shown));
    if (state.pressedAt !== null) {
      const from = state.pressedAt;
      state.pressedAt = null;
      // Two frames: the first callback runs before the picture is painted, the second after.
      requestAnimationFrame(() => requestAnimationFrame(() => performance.measure("answer", { start: from })));
    }
    loadAhead();
    return undefined;
  }

  /** The box of a picture, drawn over it: fitted into its place as the picture is. */
  function boxOver(item, image) {
    if (!item?.box || !image.naturalWidth) return [];
    const made = (name, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      return node;
    };
    const [across, down] = [image.naturalWidth, image.naturalHeight];
    const [x, y, width, height] = item.box;
    const over = made("svg", { class: "box", viewBox: `0 0 ${across} ${down}`, "aria-hidden": "true" });
    const edges = { x: x * across, y: y * down, width: width * across, height: height * down };
    over.append(made("rect", { ...edges, class: "under" }), made("rect", edges));
    return [over];
  }

  function showSaid(item, text) {
    const said = element("div", undefined, "said");
    if (item) said.append(element("h2", item.title || item.file_name));
    said.append(element("p", text));
    byId("stage").replaceChildren(said);
  }

  function showItem(item) {
    const known = data.classes[item.label];
    byId("about").hidden = byId("facts").hidden = false;
    byId("note-box").hidden = state.grid !== null;
    byId("place").textContent = `picture ${item.position + 1} of ${num}, row ${item.row + 1}`;
    byId("name").textContent = className(item.label);
    byId("family").textContent = known ? `${item.label} · ${known.family} · ${known.role}` : "This label is not in the taxonomy.";
    byId("why").hidden = item.why === "";
    byId("why").className = item.is_odd ? "odd" : "";
    byId("why").textContent = item.why && item.why[0].toUpperCase() + item.why.slice(1);
    byId("note").value = item.note;
    showCues(item);
    showSource(item);
    showCode();
    byId("side").scrollTop = 0;
    byId("unseen").textContent = `picture ${item.position + 1} of ${num}: ${className(item.label)}. ${item.why}`;
  }

  function showCode() {
    if (state.grid) return; // its cells have marks of their own
    const item = items.get(state.position);
    const code = codes[state.position] ?? OPEN;
    for (const button of document.querySelectorAll("#decide button")) button.setAttribute("aria-pressed", String(button.dataset.code === code));
    document.querySelector("#stage .mark")?.remove();
    if (code === OPEN || !item) return;
    const given = code !== "n" ? "" : item.class ? `: ${className(item.class)}` : ": unknown";
    byId("stage").append(element("div", NAMES[code] + given, "mark"));
  }

  function listOf(texts) {
    const list = element("ul");
    list.append(...texts.map((text) => element("li", text)));
    return list;
  }

  function showCues(item) {
    const known = data.classes[item.label];
    const box = byId("cues");
    box.replaceChildren();
    if (!known) return;
    if (known.cues.length) box.append(element("h3", "Cues"), listOf(known.cues));
    if (known.alike.length) box.append(element("h3", "Taken for it"));
    for (const other of known.alike) {
      const details = element("details");
      details.open = other.id === item.says;
      details.append(element("summary", className(other.id)), ...other.cues.map((cue) => element("p", cue)));
      box.append(details);
    }
  }

  function linkTo(address, text) {
    if (!address) return element("bdi", text);
    const link = element("a", text);
    link.href = address;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  }

  function showSource(item) {
    const line = (...parts) => {
      const made = element("p");
      made.append(...parts);
      return made;
    };
    const lines = [line(linkTo(item.source_url, item.title || "no title"))];
    if (item.description) lines.push(line(element("bdi", item.description)));
    if (item.categories.length) lines.push(line("In: ", element("bdi", item.categories.join("; "))));
    const by = line(element("bdi", item.author || "author not told"), ", ");
    by.append(linkTo(item.licence_url, item.licence || "licence not told"));
    if (item.date) by.append(`, ${item.date}`);
    lines.push(by);
    const facts = [item.size, item.changes, item.split && `split ${item.split}`].filter(Boolean).join("; ");
    if (facts) lines.push(line(element("bdi", facts)));
    lines.push(line(element("code", item.file_name)));
    byId("from").replaceChildren(...lines);
  }

  function counted() {
    const counts = {};
    for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
    return counts;
  }

  function showProgress() {
    const counts = counted();
    const decided = num - (counts[OPEN] ?? 0) - (counts[SKIPPED] ?? 0);
    byId("bar").value = decided;
    byId("count").textContent = `${decided} of ${num} decided`;
    const label = data.labels.of[state.position];
    let ofClass = 0;
    let decidedOfClass = 0;
    for (let each = 0; each < num; each++) {
      if (data.labels.of[each] !== label) continue;
      ofClass++;
      if (codes[each] !== OPEN && codes[each] !== SKIPPED) decidedOfClass++;
    }
    byId("of-class").textContent = label === undefined ? "" : `${className(data.labels.ids[label])}: ${decidedOfClass} of ${ofClass}`;
    const waiting = state.unsent.length;
    byId("saved").textContent = state.stuck ? `${waiting} not saved` : waiting ? "saving …" : decided ? "saved" : "";
    byId("back").disabled = state.position === 0;
    byId("on").disabled = state.position >= num;
  }

  function showEnd() {
    const counts = counted();
    byId("about").hidden = byId("facts").hidden = true;
    const said = element("div", undefined, "said");
    said.append(element("h2", counts[OPEN] ? "The end of the queue" : "All looked at"));
    said.append(element("p", Object.entries(NAMES).filter(([code]) => counts[code]).map(([code, name]) => `${counts[code]} ${name}`).join(", ")));
    for (const [code, text] of [[OPEN, "look at those not decided"], [SKIPPED, "look at the skipped ones"]]) {
      if (!counts[code]) continue;
      const button = element("button", text);
      button.addEventListener("click", () => {
        // Skipped ones wait again from here on, on this page alone: what stands in the file stays.
        codes.forEach((each, position) => { if (each === code) codes[position] = OPEN; });
        go(codes.indexOf(OPEN));
      });
      said.append(button);
    }
    said.append(element("p", "Every decision is in the file. End the command with Ctrl-C; `vision data apply-review` makes the new manifest."));
    byId("stage").replaceChildren(said);
    showCode();
    byId("unseen").textContent = said.textContent;
    return undefined;
  }

  function showTable() {
    const order = ["k", "r", "n", "i", "m", "w", "s", OPEN];
    const head = element("tr");
    head.append(element("td", "class"), ...order.map((code) => element("td", NAMES[code])));
    const counts = data.labels.ids.map(() => ({}));
    codes.forEach((code, position) => {
      const of = counts[data.labels.of[position]];
      of[code] = (of[code] ?? 0) + 1;
    });
    const rows = data.labels.ids.map((id, place) => {
      const row = element("tr");
      row.append(element("td", className(id)), ...order.map((code) => element("td", String(counts[place][code] ?? ""))));
      return row;
    });
    byId("by-class").replaceChildren(head, ...rows);
    byId("progress").showModal();
  }

  // --- Deciding ---------------------------------------------------------------------------------------------------------

  const newId = () => `${Date.now()}-${Math.random().toString(36).slice(2)}`;

  function send(position, body) {
    state.unsent.push({ position, body: { request_id: newId(), position, ...body } });
    sendAll();
  }

  async function sendAll() {
    if (state.sending || state.stuck) return;
    state.sending = true;
    showProgress();
    try {
      while (state.unsent.length) {
        items.set(state.unsent[0].position, await asked("decisions", state.unsent[0].body));
        state.unsent.shift();
      }
    } catch (error) {
      state.stuck = true;
      showAlarm(error);
    }
    state.sending = false;
    showProgress();
    showCode();
  }

  function showAlarm(error, what = "Not saved") {
    const reason = error.name === "TypeError" || error.name === "TimeoutError" ? "the server does not answer; is the command still running?" : error.message;
    const names = state.unsent.map(({ position }) => items.get(position)?.file_name ?? `picture ${position + 1}`);
    const retry = element("button", "try again");
    retry.addEventListener("click", () => {
      state.stuck = false;
      byId("alarm").hidden = true;
      sendAll();
    });
    byId("alarm").replaceChildren(
      element("p", `${what}: ${reason}`),
      names.length === 0 ? "" : element("p", `${names.length} ${names.length === 1 ? "decision waits" : "decisions wait"}: ${names.slice(0, 10).join(", ")}${names.length > 10 ? " …" : ""}`),
      element("p", "If the command has ended, start it again and open the address that it prints: it begins with the first of these. Everything before is on the disk."),
      retry,
    );
    byId("alarm").hidden = false;
  }

  function decide(code, classId = "") {
    if (state.stuck || state.shown !== state.position) return; // nobody can decide about what is not shown yet
    const item = items.get(state.position);
    const position = state.position;
    codes[position] = code;
    const note = byId("note").value.trim();
    items.set(position, { ...item, code, class: classId, note });
    send(position, { decision: data.decisions[code], class_id: classId, note });
    go(following(position));
  }

  async function undo() {
    if (state.stuck) return;
    byId("saved").textContent = "saving …";
    while (state.sending) await new Promise((done) => setTimeout(done, 5));
    if (state.stuck) return;
    try {
      const item = await asked("undo", { request_id: newId() });
      if (item.position === undefined) {
        byId("unseen").textContent = byId("saved").textContent = "nothing to undo";
        return;
      }
      items.set(item.position, item);
      codes[item.position] = item.code;
      await go(item.position);
    } catch (error) {
      showAlarm(error, "Not undone");
    }
  }

  function saveNote() {
    const item = state.shown === state.position ? items.get(state.position) : undefined;
    byId("note").blur();
    const note = byId("note").value.trim();
    if (state.stuck || !item || note === item.note) return;
    const code = codes[state.position];
    items.set(state.position, { ...item, note });
    send(state.position, { decision: code === OPEN ? "note" : data.decisions[code], class_id: code === "n" ? item.class : "", note });
  }

  // --- Twelve at a time -------------------------------------------------------------------------------------------------

  /** The next pictures that wait, from this one on, side by side. */
  async function openGrid(from) {
    const positions = from < num && (isOpen(from) || data.again) ? [from] : [];
    for (let next = following(from); positions.length < GRID && next < num; next = following(next)) {
      if (positions.includes(next)) break;
      positions.push(next);
    }
    if (state.stuck || !positions.length) return;
    const grid = { positions, marks: new Map(), focus: 0, isReady: false };
    state.position = positions[0];
    state.shown = -1;
    state.grid = grid;
    showProgress();
    byId("about").hidden = byId("facts").hidden = true;
    showSaid(undefined, "loading …");
    byId("note-box").hidden = true;
    need(positions);
    const entries = positions.map(loaded);
    await Promise.all(entries.map((entry) => entry.ready));
    if (state.grid !== grid) return;
    // What was decided stands until a key changes it; what was skipped, or could not be shown, is not kept unseen.
    positions.forEach((position) => { if (![OPEN, "k"].includes(codes[position])) grid.marks.set(position, codes[position] === SKIPPED ? OPEN : codes[position]); });
    positions.forEach((position, place) => { if (entries[place].state !== "ready") grid.marks.set(position, OPEN); });
    grid.isReady = true;
    showGrid();
    for (let next = following(positions[positions.length - 1]), left = GRID; left > 0 && next < num; left--, next = following(next)) loaded(next);
  }

  function showGrid() {
    const { positions, marks, focus } = state.grid;
    const box = element("div", undefined, "grid");
    positions.forEach((position, place) => {
      const item = items.get(position);
      const entry = pictures.get(position) ?? loaded(position);
      const cell = element("div", undefined, "cell", ...(item?.is_odd ? ["odd"] : []));
      cell.append(...(entry.state === "ready" ? [entry.image, ...boxOver(item, entry.image)] : [element("p", entry.fault)]), element("span", item ? className(item.label) : "", "label"));
      cell.classList.toggle("marked", marks.has(position));
      if (marks.has(position)) cell.append(element("span", marks.get(position) === OPEN ? "alone, later" : NAMES[marks.get(position)], "mark"));
      cell.title = item?.why ?? "";
      cell.setAttribute("aria-current", String(place === focus));
      cell.addEventListener("click", () => {
        state.grid.focus = place;
        markCell(OPEN);
      });
      box.append(cell);
    });
    const take = element("button", `Enter: keep all ${positions.length - marks.size} without a mark`);
    take.addEventListener("click", takeGrid);
    const bar = element("p", undefined, "bar");
    bar.append(take, element("span", " arrows, then r i m w or x (later, alone) mark one; Esc back to one", "keys"));
    byId("stage").replaceChildren(box, bar);
    const current = items.get(positions[focus]);
    if (current) showItem(current);
    const code = marks.get(positions[focus]) ?? "k";
    for (const button of document.querySelectorAll("#decide button")) button.setAttribute("aria-pressed", String(button.dataset.code === code));
    byId("unseen").textContent = `${focus + 1} of ${positions.length} side by side: ${box.children[focus].textContent}`;
  }

  /** Give the picture in focus a mark, or take it away if it has this one. */
  function markCell(code) {
    const { positions, marks, focus } = state.grid;
    const position = positions[focus];
    if (marks.get(position) === code || code === "k") marks.delete(position);
    else marks.set(position, code === "n" || code === SKIPPED ? OPEN : code);
    showGrid();
  }

  function takeGrid() {
    const grid = state.grid;
    if (state.stuck || !grid.isReady) return;
    for (const position of grid.positions) {
      const code = grid.marks.get(position) ?? "k";
      if (code === OPEN || (grid.marks.has(position) && code === codes[position])) continue;
      const note = items.get(position).note;
      codes[position] = code;
      items.set(position, { ...items.get(position), code, class: "" });
      send(position, { decision: data.decisions[code], class_id: "", note });
    }
    const later = grid.positions.filter((position) => grid.marks.get(position) === OPEN);
    const last = grid.positions[grid.positions.length - 1];
    if (later.length) go(later[0]);
    else if (following(last) < num) openGrid(following(last));
    else go(following(last));
  }

  /** What a key does to the pictures side by side; false if it means nothing there. */
  function pressedInGrid(key) {
    const grid = state.grid;
    if (!grid.isReady) return false;
    const columns = getComputedStyle(document.querySelector("#stage .grid")).gridTemplateColumns.split(" ").length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
    if (step !== undefined) {
      grid.focus = Math.max(0, Math.min(grid.positions.length - 1, grid.focus + step));
      showGrid();
    } else if (key === "Enter") takeGrid();
    else if (key === "Escape" || key === "g") go(grid.positions[grid.focus]);
    else if (key === "x" || key === " ") markCell(OPEN);
    else if (Object.hasOwn(KEYS, key)) markCell(KEYS[key]);
    else return false;
    return true;
  }

  // --- Choosing a class -------------------------------------------------------------------------------------------------

  const UNKNOWN = { id: "", name: "unknown", about: "not this class; which one, nobody here can say" };
  let choices = [];
  let chosen = 0;

  /** All classes for this picture: what the model says, look-alikes, unknown, its family, the rest. */
  function candidates(item) {
    const known = data.classes[item.label];
    const alike = known ? known.alike.map((other) => other.id) : [];
    const said = item.says && item.says !== item.label ? [item.says] : [];
    const first = [...new Set([...said, ...alike])].filter((id) => data.classes[id]);
    const all = data.order.filter((id) => id !== item.label && !first.includes(id));
    const family = all.filter((id) => known && data.classes[id].family === known.family);
    const rest = all.filter((id) => !family.includes(id));
    const entry = (id) => {
      const cues = known?.alike.find((other) => other.id === id)?.cues ?? [];
      const about = [id === item.says ? "the model says so" : "", ...cues].filter(Boolean).join("; ");
      return { id, name: data.classes[id].name, about: about || data.classes[id].family };
    };
    return [...first.map(entry), UNKNOWN, ...family.map(entry), ...rest.map(entry)];
  }

  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  const holds = (texts, words) => words.every((word) => texts.some((text) => plain(text).includes(plain(word))));

  /** 0 for a name or id that begins so, 1 for one that holds the words, 2 for the family or role; else no match. */
  function farness(choice, words) {
    const known = data.classes[choice.id];
    const names = [choice.id, choice.name, ...(known ? known.names : [])];
    if (names.some((name) => plain(name).startsWith(plain(words.join(""))))) return 0;
    if (holds(names, words)) return 1;
    return known && holds([...names, known.family, known.role], words) ? 2 : Infinity;
  }

  function showChoices() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const ranked = candidates(items.get(state.position)).map((choice) => [farness(choice, words), choice]);
    choices = ranked.filter(([far]) => far < Infinity).sort((one, other) => one[0] - other[0]).map(([, choice]) => choice);
    chosen = 0;
    byId("choices").replaceChildren(...choices.map((choice, place) => {
      const entry = element("li", choice.id ? `${choice.name} (${choice.id})` : choice.name);
      entry.id = `choice-${place}`;
      entry.setAttribute("role", "option");
      entry.append(element("span", choice.about, "muted"));
      entry.addEventListener("click", () => take(place));
      return entry;
    }));
    if (!choices.length) byId("choices").append(element("p", "No such class. Esc goes back; “unknown” is always right.", "muted"));
    mark(0);
  }

  function mark(place) {
    chosen = Math.max(0, Math.min(choices.length - 1, place));
    [...byId("choices").children].forEach((entry, each) => entry.setAttribute("aria-selected", String(each === chosen)));
    byId("choices").children[chosen]?.scrollIntoView({ block: "nearest" });
    byId("search").setAttribute("aria-activedescendant", `choice-${chosen}`);
  }

  function take(place) {
    const choice = choices[place];
    if (!choice) return;
    byId("choose").close();
    decide("n", choice.id);
  }

  function askClass() {
    if (state.stuck || state.shown !== state.position) return;
    byId("search").value = "";
    showChoices();
    byId("choose").showModal();
    byId("search").focus();
  }

  byId("search").addEventListener("input", showChoices);
  byId("search").addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in steps) mark(chosen + steps[event.key]);
    else if (event.key === "Enter") {
      state.pressedAt = performance.now();
      take(chosen);
    } else return;
    event.preventDefault();
  });

  // --- Keys and buttons -------------------------------------------------------------------------------------------------

  function pressed(code) {
    if (state.grid) {
      if (state.grid.isReady) markCell(code);
    } else if (code === "n") askClass();
    else decide(code);
  }

  const ACTIONS = {
    ArrowRight: () => go(state.position + 1),
    ArrowLeft: () => go(state.position - 1),
    u: undo,
    Backspace: undo,
    g: () => openGrid(state.position),
    t: () => state.grid || byId("note").focus(),
    "?": () => byId("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.target === byId("note")) {
      if (event.key === "Enter" && !event.shiftKey) saveNote();
      else if (event.key === "Escape") {
        byId("note").value = items.get(state.position)?.note ?? "";
        byId("note").blur();
      } else return;
      event.preventDefault();
      return;
    }
    if (event.key === " " && event.target.closest?.("button, summary")) return; // as on any page
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (state.grid && !(key === "Enter" && event.target.closest?.("button")) && pressedInGrid(key)) {
      event.preventDefault();
      return;
    }
    let action = Object.hasOwn(ACTIONS, key) ? ACTIONS[key] : undefined;
    if (key === " ") action = () => go(state.position + (event.shiftKey ? -1 : 1));
    else if (Object.hasOwn(KEYS, key) && !event.repeat) action = () => pressed(KEYS[key]); // a key that is held decides once
    if (!action) return;
    event.preventDefault();
    state.pressedAt = event.timeStamp;
    action();
  });

  for (const button of document.querySelectorAll("#decide button")) button.addEventListener("click", () => pressed(button.dataset.code));
  const clicks = { back: ACTIONS.ArrowLeft, on: ACTIONS.ArrowRight, skip: () => pressed("s"), undo, "open-help": ACTIONS["?"], "open-progress": showTable, "open-grid": ACTIONS.g };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
  for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
  // A button keeps the focus after a click, and Space would press it again instead of going on.
  document.addEventListener("click", (event) => { if (event.detail > 0) event.target.closest?.("button")?.blur(); });
  window.addEventListener("beforeunload", (event) => { if (state.unsent.length) event.preventDefault(); });

  showProgress();
  if (num) go(data.again ? 0 : following(-1)).then(() => { document.body.dataset.ready = "yes"; });
})();
