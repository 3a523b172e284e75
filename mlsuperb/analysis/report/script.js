"use strict";
(() => {
  // Sorting: a click on a column's button; rows without a number go last, whatever the direction.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : Number(value);
  };
  const compare = (a, b, sign) => {
    const numbers = [typeof a === "number", typeof b === "number"];
    if (numbers[0] && numbers[1]) return sign * (a - b);
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return sign * a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    heads.forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
    keyed.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...keyed.map((pair) => pair[1]));
  };
  for (const box of document.querySelectorAll("[data-sortable]")) {
    const table = box.querySelector("table");
    table.tHead.querySelectorAll("button").forEach((button) => {
      button.addEventListener("click", () => sort(table, button.parentElement.cellIndex));
    });
  }

  // Filtering: rows that hold every word that was typed, in any column.
  const fold = (text) => text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
  for (const input of document.querySelectorAll(".filter input")) {
    const box = input.closest(".table");
    const shown = box.querySelector(".shown");
    const rows = [...box.querySelector("tbody").rows].map((row) => [fold(row.textContent), row]);
    input.addEventListener("input", () => {
      const words = fold(input.value).split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [text, row] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        count += row.hidden ? 0 : 1;
      }
      shown.textContent = words.length ? `${count} of ${rows.length} ${shown.dataset.label}` : `${count} ${shown.dataset.label}`;
    });
  }

  // One utterance at a time.
  const sounds = [...document.querySelectorAll("audio")];
  sounds.forEach((sound) => {
    sound.addEventListener("play", () => sounds.forEach((other) => other === sound || other.pause()));
  });
})();
