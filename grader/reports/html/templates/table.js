"use strict";
// Sorts and filters the table of the class. Without it the table is as it was written.
(() => {
  const table = document.getElementById("class");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const tools = document.getElementById("tools");
  const [words, end, shown] = ["words", "end", "shown"].map((id) => document.getElementById(id));

  const filter = () => {
    const wanted = words.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits || (end.value !== "" && row.dataset.end !== end.value);
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  };

  const sort = (head, place) => {
    const numbers = head.dataset.sort === "number";
    const [usual, other] = numbers ? ["descending", "ascending"] : ["ascending", "descending"];
    const order = head.getAttribute("aria-sort") === usual ? other : usual;
    const sign = order === "ascending" ? 1 : -1;
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const value = (row) => row.cells[place].dataset.value;
    const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    body.append(...rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // what is not known stands last
      return sign * compare(a, b);
    }));
  };

  [...table.tHead.rows[0].cells].forEach((head, place) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, place));
    head.append(button);
  });
  words.addEventListener("input", filter);
  end.addEventListener("change", filter);
  tools.hidden = false;
  filter();
})();
