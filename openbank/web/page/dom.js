// Elements of the page. All text is set as text: nothing that the bank says is ever read as HTML.
export const find = (id) => document.getElementById(id);

export function element(tag, content = "", attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat());
  return made;
}

// Fills the body of a table. Each cell has the class of its column.
export function rows(table, lines, empty) {
  const body = table.tBodies[0];
  const columns = table.tHead.rows[0].cells.length;
  const made = lines.map((cells) => element("tr", cells.map((cell, index) => {
    const cellOf = element("td", cell);
    const heading = table.tHead.rows[0].cells[index];
    cellOf.className = heading.className;
    cellOf.dataset.heading = heading.textContent;
    return cellOf;
  })));
  if (!made.length) made.push(element("tr", element("td", empty, { colspan: columns, class: "empty" })));
  body.replaceChildren(...made);
}

const SVG = "http://www.w3.org/2000/svg";

// A line of the values, each until the next, and what it shows as text for those who do not see it.
export function plot(svg, values, label) {
  const [width, high, edge] = [600, 160, 4];
  const least = Math.min(0, ...values), most = Math.max(0, ...values, least + 1);
  const x = (index) => edge + (width - 2 * edge) * (values.length > 1 ? index / (values.length - 1) : 1);
  const y = (value) => high - edge - (high - 2 * edge) * ((value - least) / (most - least));
  const points = values.flatMap((value, index) => (index ? [[x(index), y(values[index - 1])]] : [[edge, y(value)]]).concat([[x(index), y(value)]]));
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" "));
  line.setAttribute("class", "line");
  const zero = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({ x1: edge, x2: width - edge, y1: y(0), y2: y(0), class: "zero" })) zero.setAttribute(name, value);
  const title = document.createElementNS(SVG, "title");
  title.textContent = label;
  svg.replaceChildren(title, zero, line);
  svg.setAttribute("aria-label", label);
}
