"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const { page, columns, sounds } = JSON.parse(element("data").textContent);

  // An order of this listener's own (Fisher and Yates); remainders of 32 bits are even enough for some hundred samples.
  const order = Object.keys(sounds);
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = crypto.getRandomValues(new Uint32Array(1))[0] % (last + 1);
    [order[last], order[other]] = [order[other], order[last]];
  }

  const ratings = new Map();
  const played = new Set();
  const radios = [...document.querySelectorAll("input[name=rating]")];
  const sound = element("sound");
  let place = 0;
  let listener = "";
  let unsaved = false;

  const refresh = () => {
    const sample = order[place];
    const done = ratings.size === order.length;
    element("scale").disabled = !played.has(sample);
    radios.forEach((one) => { one.checked = Number(one.value) === ratings.get(sample); });
    element("back").disabled = place === 0;
    element("next").disabled = !ratings.has(sample) || place === order.length - 1;
    element("place").textContent = `Sample ${place + 1} of ${order.length}, ${ratings.size} rated`;
    element("progress").value = ratings.size;
    element("end").hidden = !done;
    element("download").hidden = ratings.size === 0;
  };
  const show = (number) => {
    place = Math.min(Math.max(number, 0), order.length - 1);
    sound.src = sounds[order[place]];
    refresh();
  };
  const rate = (value) => {
    if (!played.has(order[place])) return;
    ratings.set(order[place], value);
    unsaved = true;
    element("saved").textContent = "";
    refresh();
  };
  // the next sample may be asked for before this one has begun to sound
  const play = () => sound.play().catch((error) => { if (error.name !== "AbortError") throw error; });
  const goOn = () => { if (!element("next").disabled) show(place + 1); };

  sound.addEventListener("play", () => { played.add(order[place]); refresh(); });
  radios.forEach((one) => one.addEventListener("change", () => rate(Number(one.value))));
  element("back").addEventListener("click", () => show(place - 1));
  element("next").addEventListener("click", goOn);
  element("who").addEventListener("submit", (event) => {
    event.preventDefault();
    listener = element("listener").value.trim();
    if (!listener) return;
    element("start").hidden = true;
    element("test").hidden = false;
    show(0);
    sound.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (element("test").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
    const on = event.target.tagName;
    if (/^[1-5]$/.test(event.key)) rate(Number(event.key));
    else if (event.key === " " && on !== "BUTTON" && on !== "AUDIO") sound.paused ? play() : sound.pause();
    else if (event.key === "Enter" && on !== "BUTTON") goOn();
    else if (event.key === "ArrowRight") goOn();
    else if (event.key === "ArrowLeft") show(place - 1);
    else return;
    event.preventDefault();
  });

  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  element("download").addEventListener("click", () => {
    const rows = order.map((sample, number) => [page, listener, number + 1, sample, ratings.get(sample)]);
    const lines = [columns, ...rows.filter((row) => row[4] !== undefined)].map((row) => row.map(quoted).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    link.download = `ratings-${listener.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    unsaved = false;
    element("saved").textContent = `${ratings.size} of ${order.length} ratings downloaded.`;
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
})();
