"use strict";
// Adds search and sorting to tables that have more rows than an eye takes in. The page is whole without it.
(() => {
  const CHUNK = 100;
  const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const count = (number) => number.toLocaleString("en-US");

  function searchable(table) {
    const rows = [...table.querySelectorAll("tbody > tr")];
    if (rows.length < 8) return;
    const state = { words: [], column: -1, down: false };
    const texts = new Map();
    const text = (row) => {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      return texts.get(row);
    };

    const bar = document.createElement("div");
    bar.className = "search";
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "Search";
    input.setAttribute("aria-label", `Search: ${table.getAttribute("aria-label")}`);
    const told = document.createElement("span");
    told.setAttribute("role", "status");
    bar.append(input, told);
    table.before(bar);

    function shown() {
      const found = rows.filter((row) => state.words.every((word) => text(row).includes(word)));
      if (state.column < 0) return found;
      const keyed = found.map((row) => [row.cells[state.column].textContent, row]);
      keyed.sort((one, other) => order.compare(one[0], other[0]));
      if (state.down) keyed.reverse();
      return keyed.map((pair) => pair[1]);
    }

    function lay() {
      const found = shown();
      const bodies = [];
      for (let start = 0; start < found.length; start += CHUNK) {
        const body = document.createElement("tbody");
        body.setAttribute("role", "rowgroup");
        const chunk = found.slice(start, start + CHUNK);
        if (chunk.length === CHUNK) body.className = "full";
        body.append(...chunk);
        bodies.push(body);
      }
      for (const body of [...table.tBodies]) body.remove();
      table.append(...bodies);
      told.textContent = state.words.length ? `${count(found.length)} of ${count(rows.length)}` : "";
    }

    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        state.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        lay();
      }, rows.length > 2000 ? 150 : 0);
    });

    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        state.down = state.column === column && !state.down;
        state.column = column;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        lay();
      });
    });
  }

  for (const table of document.querySelectorAll("table")) searchable(table);
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
