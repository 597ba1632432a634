"use strict";
// The table of trainings sorts, filters and counts; buttons copy commands. Without script the page
// is whole: every row is there, in the study's order.
(() => {
  const table = document.getElementById("trainings-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const state = document.getElementById("state");
  const count = document.getElementById("count");
  const stateColumn = heads.findIndex((head) => head.classList.contains("state"));

  // ---- sorting: a number by its value, a word by the alphabet, what is missing always last
  const raw = (row, column) => row.cells[column].dataset.raw;

  function compare(a, b, isNumber) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return isNumber ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
  }

  function sortBy(column) {
    const head = heads[column];
    const isNumber = head.classList.contains("number");
    const isAscending = head.getAttribute("aria-sort") !== "ascending";
    const sign = isAscending ? 1 : -1;
    const sorted = rows
      .map((row, place) => ({ row, place, key: raw(row, column) }))
      .sort((a, b) => {
        const hasGap = a.key === "" || b.key === "";
        const order = compare(a.key, b.key, isNumber) * (hasGap ? 1 : sign);
        return order || a.place - b.place;
      });
    body.append(...sorted.map((item) => item.row));
    heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
  }

  heads.forEach((head, column) => {
    const button = head.querySelector(".sort");
    if (button) button.addEventListener("click", () => sortBy(column));
  });

  // ---- filtering: every word must occur somewhere in the row
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const hasState = !state.value || raw(row, stateColumn) === state.value;
      row.hidden = !(hasState && words.every((word) => texts.get(row).includes(word)));
      if (!row.hidden) shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  }

  filter.addEventListener("input", show);
  state.addEventListener("change", show);
  show();

  // ---- copying: the clipboard where the browser gives it, else a selected text area
  async function copy(text) {
    if (navigator.clipboard && window.isSecureContext) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        // refused: try the old way
      }
    }
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.title = button.dataset.copy;
    button.addEventListener("click", async () => {
      const isCopied = await copy(button.dataset.copy);
      button.textContent = isCopied ? "copied" : "select it by hand";
      button.focus();
      setTimeout(() => (button.textContent = "copy"), 1500);
    });
  }
})();
