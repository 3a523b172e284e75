"use strict";
(() => {
  if (typeof document === "undefined") return;

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

  // Long tables: the first rows, and a button for all of them.
  for (const box of document.querySelectorAll("[data-folded]")) {
    const table = box.querySelector("table");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.setAttribute("aria-controls", table.id);
    const show = (all) => {
      box.classList.toggle("folded", !all);
      button.setAttribute("aria-expanded", String(all));
      button.textContent = all ? "Show fewer" : `Show all ${table.tBodies[0].rows.length} ${box.dataset.folded}`;
    };
    button.addEventListener("click", () => show(box.classList.contains("folded")));
    show(false);
    box.querySelector(".scroll").after(button);
  }

  // Filtering: rows that hold every word that was typed, in any column; a folded table shows all that it finds.
  const fold = (text) => text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
  for (const input of document.querySelectorAll(".table .filter input")) {
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
      box.classList.toggle("filtered", words.length > 0);
      const label = rows.length === 1 ? shown.dataset.label.slice(0, -1) : shown.dataset.label;
      shown.textContent = words.length ? `${count} of ${rows.length} ${label}` : `${count} ${label}`;
    });
  }

  // A word above a table that is wider than its frame.
  const hint = (scroll) => {
    const word = scroll.parentElement.querySelector(".hint");
    if (word) word.hidden = scroll.scrollWidth <= scroll.clientWidth + 1;
  };
  if (typeof ResizeObserver !== "undefined") {
    const watch = new ResizeObserver((entries) => entries.forEach((entry) => hint(entry.target)));
    document.querySelectorAll(".table .scroll").forEach((scroll) => watch.observe(scroll));
  }

  // The contents say where one is: the last section that begins in the upper part of the window.
  const links = [...document.querySelectorAll("nav a")];
  const list = document.querySelector("nav ol");
  const sections = links.map((link) => document.querySelector(link.hash));
  const locate = () => {
    const line = window.innerHeight * 0.3;
    const begun = sections.filter((one) => one.getBoundingClientRect().top <= line).length;
    const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const here = atEnd && window.scrollY > 0 ? links.length - 1 : Math.max(0, begun - 1);
    if (links[here].hasAttribute("aria-current")) return;
    links.forEach((link, place) => (place === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    if (list.scrollWidth > list.clientWidth) list.scrollLeft = links[here].offsetLeft - list.clientWidth / 3;
  };
  if (links.length) {
    let waiting = false;
    document.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        locate();
      });
    }, { passive: true });
    locate();
  }
})();
