"use strict";
(() => {
  const STEP = 20; // utterances at a time
  const PIECE = 12; // characters that stay on one line
  const MOST_JOINED = 80; // the same where a cut changes the shape of letters
  const fold = (text) => text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
  const clusters = (text) => text.match(/\P{M}\p{M}*|\p{M}+/gu) ?? [];

  // A row of the data: id, place of language, of dataset, seconds, score (null: none), place of the language named (-1: none),
  // script (1: right to left, 2: joined letters), texts (a string that both sides have, or [reference, hypothesis, number of
  // characters left out]), place of the audio's name, where it begins.
  const sides = (texts) =>
    [0, 1].map((side) => texts.map((one) => (typeof one === "string" ? one : one[side])).join(""));

  const searched = new Map();
  const textOf = (row) => {
    if (!searched.has(row)) searched.set(row, fold([row[0], ...sides(row[7])].join("\n")));
    return searched.get(row);
  };

  const ORDERS = {
    worst: (a, b) => (b[4] ?? -1) - (a[4] ?? -1),
    best: (a, b) => (a[4] ?? Infinity) - (b[4] ?? Infinity),
    longest: (a, b) => b[3] - a[3],
    shortest: (a, b) => a[3] - b[3],
    file: () => 0,
  };

  const choose = (rows, wish) => {
    const words = fold(wish.words ?? "").split(/\s+/).filter(Boolean);
    const [from, to] = [wish.from, wish.to].map((one) => (one === undefined || one === "" ? null : Number(one)));
    const found = rows.filter(
      (row) =>
        (!wish.language || row[1] === Number(wish.language)) &&
        (!wish.dataset || row[2] === Number(wish.dataset)) &&
        (from === null || (row[4] !== null && row[4] >= from)) &&
        (to === null || (row[4] !== null && row[4] <= to)) &&
        (!wish.named || (row[5] === row[1]) === (wish.named === "right")) &&
        words.every((word) => textOf(row).includes(word)),
    );
    return found.sort(ORDERS[wish.order] ?? ORDERS.file);
  };

  // Pieces [reference, hypothesis, mark, left out] by word: a word ends after a space that both sides have, or when it is long.
  const words = (texts, joined = false) => {
    const most = joined ? MOST_JOINED : PIECE;
    const found = [[]];
    let length = 0;
    const put = (piece, size, ends) => {
      found.at(-1).push(piece);
      length += size;
      if (!ends && length < most) return;
      found.push([]);
      length = 0;
    };
    for (const one of texts) {
      if (typeof one === "string") {
        for (const word of one.match(/\S+\s*|\s+/gu) ?? []) {
          const units = clusters(word);
          for (let place = 0; place < units.length; place += most) {
            const part = units.slice(place, place + most).join("");
            put([part, part, "equal", 0], Math.min(most, units.length - place), /\s$/u.test(part));
          }
        }
        continue;
      }
      const [reference, hypothesis] = [clusters(one[0]), clusters(one[1])];
      const mark = !reference.length ? "inserted" : !hypothesis.length ? "deleted" : "substituted";
      const size = Math.max(reference.length, hypothesis.length);
      for (let place = 0; place < size; place += most) {
        const part = (units) => units.slice(place, place + most).join("");
        const last = place + most >= size;
        put([part(reference), part(hypothesis), mark, last ? one[2] ?? 0 : 0], Math.min(most, size - place), false);
      }
    }
    return found.filter((word) => word.length);
  };

  if (typeof document === "undefined") {
    module.exports = { choose, words, sides };
    return;
  }

  const make = (name, attributes = {}, ...inside) => {
    const element = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...inside);
    return element;
  };
  const bdi = (text, attributes = {}) => make("bdi", attributes, text);
  const spaces = (text, mark) => text.replace(/\s(?!\p{M})/gu, mark === "equal" ? "\u00a0" : "\u2423"); // a space may bear a mark
  const leftOut = (number) => (number ? [bdi(`… +${number} characters`, { class: "more", dir: "ltr" })] : []);

  const joinedWord = (word) => {
    const line = (name, side) =>
      make("span", { class: name }, ...word.filter((piece) => piece[side]).flatMap((piece) => [
        make("span", { class: piece[2] }, piece[side]),
        ...(side ? leftOut(piece[3]) : []),
      ]));
    return make("span", { class: "word joined" }, line("ref", 0), line("hyp", 1));
  };
  const columnWord = (word) =>
    make("span", { class: "word" }, ...word.flatMap((piece) => [
      make("span", { class: piece[2] }, make("b", {}, spaces(piece[0], piece[2])), make("b", {}, spaces(piece[1], piece[2]))),
      ...leftOut(piece[3]),
    ]));
  const aligned = (row) => {
    const [reference, hypothesis] = sides(row[7]);
    const drawn = words(row[7], (row[6] & 2) > 0).map(row[6] & 2 ? joinedWord : columnWord);
    const names = make("span", { class: "names", dir: "ltr" }, make("i"), make("i"));
    return make("div", { class: "pair" },
      make("p", { class: "unseen" }, "Reference: ", bdi(reference, { dir: "auto" })),
      make("p", { class: "unseen" }, "Hypothesis: ", bdi(hypothesis || "(empty)", { dir: "auto" })),
      make("div", { class: "words", dir: row[6] & 1 ? "rtl" : "ltr", "aria-hidden": "true" }, names, ...drawn));
  };

  // Sound that is in the page stands with every picture of its utterance; of the others stands where it lies.
  const playable = new Map([...document.querySelectorAll("audio")].map((one) => [one.getAttribute("aria-label"), one.src]));
  const player = (id) => make("audio", { controls: "", preload: "none", src: playable.get(id), "aria-label": id });
  for (const word of document.querySelectorAll("[data-sound]")) {
    if (playable.has(word.dataset.sound)) word.replaceWith(player(word.dataset.sound));
  }
  document.addEventListener("play", (event) => {
    document.querySelectorAll("audio").forEach((other) => other === event.target || other.pause());
  }, true);

  const item = (row, data) => {
    const [id, language, dataset, seconds, score, named] = row;
    const facts = [id, data.languages[language], data.datasets[dataset], `${seconds.toFixed(1)} s`];
    if (named >= 0 || data.named) facts.push(`named ${data.languages[named] ?? "none"}${named === language ? "" : " (wrong)"}`);
    const heading = !data.rated ? (named === language ? "right language" : "wrong language")
      : score === null ? "no reference" : `${score.toFixed(0)} % errors`;
    const where = `Audio: ${data.files[row[8]].replace("*", id)}, ${row[9].toFixed(2)} to ${(row[9] + seconds).toFixed(2)} s`;
    return make("li", {},
      make("p", { class: "head" }, make("strong", {}, heading), " ", make("span", { class: "facts-line" }, bdi(facts.join(", ")))),
      ...(row[7].length ? [aligned(row)] : []),
      playable.has(id) ? player(id) : make("p", { class: "caption" }, bdi(where)));
  };

  for (const box of document.querySelectorAll(".browser")) {
    const data = JSON.parse(box.querySelector("pre").textContent);
    const inputs = [...box.querySelectorAll("select, input")];
    const [list, shown, more] = ["ol", ".shown", "button.plain"].map((one) => box.querySelector(one));
    for (const [name, labels] of [["language", data.labels], ["dataset", data.datasets]]) {
      const present = new Set(data.rows.map((row) => row[name === "language" ? 1 : 2]));
      const options = labels.map((label, place) => [label, place]).filter(([, place]) => present.has(place));
      box.querySelector(`[name=${name}]`).append(...options.map(([label, place]) => make("option", { value: place }, label)));
    }
    let found = [];
    const extend = () => {
      const first = list.children.length;
      list.append(...found.slice(first, first + STEP).map((row) => item(row, data)));
      more.hidden = list.children.length >= found.length;
      more.textContent = `Show ${Math.min(STEP, found.length - list.children.length)} more`;
      const [num, all] = [found.length, data.rows.length].map((one) => one.toLocaleString("en"));
      const count = num === all ? num : `${num} of ${all}`;
      shown.textContent = `${count} utterances, ${list.children.length} shown`;
    };
    const renew = () => {
      found = choose(data.rows, Object.fromEntries(inputs.map((one) => [one.name, one.value])));
      list.replaceChildren();
      extend();
    };
    let timer = 0;
    box.addEventListener("input", (event) => {
      clearTimeout(timer);
      timer = setTimeout(renew, event.target.tagName === "SELECT" ? 0 : 200);
    });
    more.addEventListener("click", () => {
      const next = list.children.length;
      extend();
      const first = list.children[next]; // the button moves down: whoever uses the keyboard goes on reading here
      first.tabIndex = -1;
      first.focus({ preventScroll: true });
    });
    box.hidden = false;
    renew();
  }

  // One set of blocks at a time; all choices of the page move together.
  const choices = [...document.querySelectorAll(".choice")];
  const turn = (value) => {
    for (const choice of choices) {
      choice.querySelector("select").value = value;
      for (const option of choice.children) if (option.dataset.option !== undefined) option.hidden = option.dataset.option !== value;
    }
  };
  for (const choice of choices) {
    choice.querySelector(".filter").hidden = false;
    choice.querySelector("select").addEventListener("change", (event) => turn(event.target.value));
  }
  if (choices.length) turn("0");
})();
