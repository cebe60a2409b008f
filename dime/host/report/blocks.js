"use strict";
// Building blocks of the report: elements, units, strips of layers, tables, and plots that answer to pointer and keys.
// Texts reach the page through text nodes only.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = document.getElementById("patterns").namespaceURI;
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "style") Object.assign(node.style, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];

function scaled(value, unit) {
  const size = Number(Math.abs(value).toPrecision(3));
  const largest = unit === "s" ? 1 : 1e9;
  return PREFIXES.find(([factor]) => factor <= largest && size >= factor) || [1e-12, "p"];
}

function quantity(value, unit) {
  if (value === null || value === undefined) return "–";
  if (!unit) return String(Number(value.toPrecision(3)));
  if (value === 0 || (unit === "B" && Math.abs(value) < 1000)) return `${Math.round(value)} ${unit}`;
  const [factor, prefix] = scaled(value, unit);
  const shown = value / factor;
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Number(Math.abs(shown).toPrecision(3)))));
  return `${shown.toFixed(digits)} ${prefix}${unit}`.trim();
}

function rounded(value, unit, digits = 3) {
  if (value === 0) return "0";
  if (!unit) return String(Number(value.toPrecision(digits)));
  const [factor, prefix] = scaled(value, unit);
  return `${Number((value / factor).toPrecision(digits))} ${prefix}${unit}`.trim();
}

const share = (part) => part === null || part === undefined ? "–" : `${(100 * part).toFixed(1).replace(/^-(0\.0)$/, "$1")} %`;
// A share in three digits at most, neither as 0 nor as 100 % unless it is; large ones as a multiple.
function percent(part) {
  if (part > 1000) return ">1000 times";
  if (part >= 10) return `${Number(part.toPrecision(3))} times`;
  return 0 < part && part < 0.0005 ? "<0.1 %" : 0.9995 <= part && part < 1 ? ">99.9 %" : `${Number((100 * part).toPrecision(3))} %`;
}
const clock = (hz) => hz < 0 ? "clock left alone" : quantity(hz, "Hz");
const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
const devices = new Map(data.devices.map((device, at) => [device.name, { ...device, at }]));
const edge = data.devices.find((device) => device.is_edge).name;
const tint = (device) => `d${devices.get(device).at % 6}`;

// A name that fits: its beginning and its end, by which layers differ.
function shortened(name, most) {
  if (name.length <= most) return name;
  const tail = Math.max(1, Math.min(4, Math.floor(most / 2)));
  return `${name.slice(0, Math.max(1, most - tail - 1))}…${name.slice(-tail)}`;
}

function bundleName({ first, last }) {
  return first === last ? data.layers[first] : `${data.layers[first]} – ${data.layers[last]}`;
}

// Origins: a shape, a word and a colour each.
const ORIGINS = ["measured", "replayed", "emulated", "modelled"];

function weakest(origins) {
  return ORIGINS[Math.max(0, ...origins.filter(Boolean).map((origin) => ORIGINS.indexOf(origin)))];
}

function originMark(origin, x, y, r, extra = "") {
  const kind = `p-${origin} ${extra}`;
  if (origin === "replayed") return s("path", { class: kind, d: `M${x - r} ${y - r}L${x + 1.2 * r} ${y}L${x - r} ${y + r}Z` });
  if (origin === "emulated") return s("rect", { class: kind, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
  if (origin === "modelled") {
    return s("path", { class: kind, d: `M${x} ${y - 1.25 * r}L${x + 1.25 * r} ${y}L${x} ${y + 1.25 * r}L${x - 1.25 * r} ${y}Z` });
  }
  return s("circle", { class: kind, cx: x, cy: y, r });
}

// Over a rectangle: oblique lines for what is modelled, level ones for what is emulated, dots for what is replayed.
function texture(origin, x, y, wide, high) {
  const parts = [];
  if (origin === "modelled") {
    for (let at = -high; at < wide; at += 8) {
      const [from, to] = [Math.max(0, -at), Math.min(high, wide - at)];
      if (to > from) parts.push(`M${x + at + from} ${y + from}L${x + at + to} ${y + to}`);
    }
  } else if (origin === "emulated") {
    for (let down = 4; down < high; down += 8) parts.push(`M${x} ${y + down}h${wide}`);
  } else if (origin === "replayed") {
    for (let down = 4; down < high; down += 8) for (let at = 4; at < wide; at += 8) parts.push(`M${x + at} ${y + down}h.01`);
  }
  return s("path", { class: `texture ${origin}`, d: parts.join("") });
}

function glyph(origin) {
  const mark = originMark(origin, 6, 6, 4);
  mark.removeAttribute("class");
  mark.setAttribute("fill", origin === "measured" ? "currentColor" : "none");
  mark.setAttribute("stroke", "currentColor");
  mark.setAttribute("stroke-width", "1.5");
  return s("svg", { width: 13, height: 12, "aria-hidden": "true" }, mark);
}

// An origin with its word, and as a mark alone, which the legend at the top explains.
const badge = (origin, what = "") => h("span", { class: `badge ${origin}` }, glyph(origin), `${what} ${origin}`.trim());
function quiet(origin, what = "") {
  const told = `${what} ${origin}`.trim();
  return h("span", { class: `origin ${origin}`, role: "img", title: told, "aria-label": told }, glyph(origin));
}

function planOrigin(steps, quantityName) {
  const origins = steps.map((step) => devices.get(step.device)[quantityName === "energy" ? "energy_origin" : "origin"]);
  return weakest(origins);
}

// The plan as a strip: one cell a layer, coloured by device; hatched cells are modelled, grey ones cross a link.
function strip(steps, size = "", width = 0) {
  const longest = Math.max(...data.layers.map((name) => name.length));
  const room = width ? (width - 20 * steps.length) / data.layers.length : 0;
  const across = size === "" && room >= 6.5 * longest + 3;
  const upright = size === "" && !across && room >= 15;
  const cells = [];
  let here = edge;
  const cross = (to) => {
    if (to !== here) {
      const title = `${here} to ${to}`;
      cells.push(h("div", { class: "sent fill modelled", title }, devices.get(to).at > devices.get(here).at ? "⇡" : "⇣"));
    }
    here = to;
  };
  for (const step of steps) {
    const { first, last, device } = step;
    cross(device);
    const kind = `layer fill ${tint(device)} ${devices.get(device).origin}`;
    const layers = data.layers.slice(first, last + 1);
    const title = `${bundleName(step)} on ${device}, ${clock(step.frequency_hz)}`;
    cells.push(h("div", { class: "bundle", title, style: { flex: `${layers.length} 1 0` } },
      layers.map((name) => h("div", { class: kind }, across || upright ? h("span", null, name) : null))));
  }
  cross(edge);
  const described = steps.map((step) => `${bundleName(step)} on ${step.device}`).join("; ");
  const tall = upright && longest > 3;
  const style = tall ? { height: `${Math.min(180, 7 * longest + 12)}px` } : {};
  return h("div", { class: `strip ${tall ? "tall" : size}`, role: "img", "aria-label": described, style }, cells);
}

// What is made for paper is drawn once, for a page's width; else 0.
let paperWidth = 0;

// Runs `render(width)` now and whenever the width changes.
function responsive(render) {
  if (paperWidth) return h("div", null, render(paperWidth));
  const host = h("div");
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now && now !== width) host.replaceChildren(render(width = now));
  }).observe(host);
  return host;
}

function scale(low, high, from, to, log) {
  const view = log ? Math.log10 : Number;
  const [a, b] = [view(low), view(high)];
  const place = (value) => from + (view(value) - a) / (b - a) * (to - from);
  const most = Math.max(2, Math.floor(Math.abs(to - from) / (from < to ? 78 : 42)));
  place.ticks = log ? logTicks(low, high, most) : linearTicks(low, high, most);
  const [first, second] = place.ticks;
  const between = second === undefined ? high - low : second - first;
  place.digits = log ? 3 : Math.min(9, Math.max(3, 1 + Math.ceil(Math.log10(Math.abs(high / between) || 1))));
  return place;
}

function linearTicks(low, high, most) {
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9); k += 1) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high, most) {
  for (const factors of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
    }
    const inside = ticks.filter((tick) => tick >= low * 0.9999 && tick <= high * 1.0001);
    if (inside.length <= most) return inside.length > 1 ? inside : [low, high];
  }
  return [low, high];
}

// Bounds of some values with a margin; logarithmic where they span more than `ratio`.
function bounds(values, ratio = 12) {
  const low = Math.min(...values), high = Math.max(...values);
  if (low > 0 && high / low > ratio) return { low: low / 1.2, high: high * 1.2, log: true };
  const margin = Math.max((high - low) * 0.1, Math.abs(high) * 0.01) || 1;
  return { low: low >= 0 ? Math.max(0, low - margin) : low - margin, high: high + margin, log: false };
}

// Where the middle of a text may be so that it stays inside of a drawing.
const inside = (x, text, width) => Math.min(Math.max(x, 4.1 * text.length), width - 2 - 4.1 * text.length);

/* A plot with two axes.
   axes: {label, unit, low, high, log, ticks}; paint(layer, X, Y) draws; points: [{x, y}] can be picked by pointer,
   finger and arrow keys: the nearest one is marked, by mark(point, layer, X, Y, area), too, and handed to pick(point).
   byColumn: points are ranges from..to. */
function plot({ width, height, x, y, paint, points, pick, label, mark = () => null, byColumn = false, left = 64, top = 24 }) {
  const area = { left, right: width - 14, top, bottom: height - 44 };
  const X = scale(x.low, x.high, area.left, area.right, x.log);
  const Y = scale(y.low, y.high, area.bottom, area.top, y.log);
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: points.length ? 0 : null, "aria-label": label });
  let taken = -Infinity;
  for (const tick of x.ticks || X.ticks) {
    const text = x.text ? x.text(tick) : rounded(tick, x.unit, X.digits);
    const middle = inside(X(tick), text, width);
    svg.append(s("line", { class: "grid", x1: X(tick), x2: X(tick), y1: area.top, y2: area.bottom }));
    if (middle - 3.4 * text.length < taken) continue;
    taken = middle + 3.4 * text.length + 8;
    svg.append(s("text", { class: "soft", x: middle, y: area.bottom + 17, "text-anchor": "middle" }, text));
  }
  for (const tick of y.ticks || Y.ticks) {
    svg.append(s("line", { class: "grid", x1: area.left, x2: area.right, y1: Y(tick), y2: Y(tick) }),
      s("text", { class: "soft", x: area.left - 6, y: Y(tick) + 4, "text-anchor": "end" }, y.text ? y.text(tick) : rounded(tick, y.unit, Y.digits)));
  }
  svg.append(s("line", { class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }),
    s("line", { class: "axis", x1: area.left, x2: area.left, y1: area.top, y2: area.bottom }),
    s("text", { x: area.right, y: height - 6, "text-anchor": "end" }, x.label + (x.log ? " (log scale)" : "")));
  if (y.label) svg.append(s("text", { x: 4, y: 11 }, y.label + (y.log ? " (log scale)" : "")));
  const layer = s("g");
  const cursor = s("g", { "pointer-events": "none" });
  svg.append(layer, cursor);
  paint(layer, X, Y, area);
  let current = -1;
  const choose = (at) => {
    if (at < 0 || at === current) return;
    current = at;
    const point = points[at];
    const [px, py] = byColumn ? [] : [X(point.x), Y(point.y)];
    cursor.replaceChildren(...(byColumn ? [s("rect", { class: "ring", x: X(point.from), y: area.top, width: X(point.to) - X(point.from), height: area.bottom - area.top })] : [
      s("path", { class: "cross", fill: "none", d: `M${px} ${area.bottom}V${py}H${area.left}` }),
      s("circle", { class: "ring", cx: px, cy: py, r: 8 })]));
    mark(point, cursor, X, Y, area);
    pick(point);
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, least = Infinity;
    points.forEach((point, at) => {
      const beside = byColumn ? Math.max(0, X(point.from) - px, px - X(point.to)) : Math.abs(X(point.x) - px);
      const distance = beside ** 2 + (byColumn ? 0 : (Y(point.y) - py) ** 2);
      if (distance < least) [best, least] = [at, distance];
    });
    choose(best);
  };
  svg.addEventListener("pointermove", nearest);
  svg.addEventListener("pointerdown", nearest);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    choose(Math.min(points.length - 1, Math.max(0, current + step)));
  });
  svg.choose = choose;
  return svg;
}

// A section has an address of its own; folded ones open where they are asked for.
const slug = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
let shownLink = "";
const address = (link, at = "") => `#link=${encodeURIComponent(link)}${at ? `&at=${at}` : ""}`;

function headed(title, level = "h2") {
  const at = slug(title), link = shownLink;
  return h(level, null, title, " ", paperWidth ? null : h("a", { class: "anchor", href: address(link, at), "aria-label": `link to: ${title}` }, "#"));
}

const section = (title, note, ...content) =>
  h("section", { id: paperWidth ? null : slug(title) }, headed(title), note ? h("p", { class: "note" }, note) : null, content);

function folded(node) {
  if (!node || paperWidth) return node;
  const heading = node.querySelector("h2");
  return h("section", { id: node.id, class: "folded" }, h("details", null, h("summary", null, heading), [...node.childNodes].filter((child) => child !== heading)));
}

const fact = (value, name) => h("div", null, h("b", null, value), h("span", null, name));
const num = (text, tag = "td") => h(tag, { class: "num" }, text);
const timeOf = (plan) => data.goal === "throughput" ? plan.period_s : plan.latency_s;
const timeName = data.goal === "throughput" ? "slowest stage" : "latency";

// "147 ms" as 0.147, "34 %" as 0.34; what is no number as its text.
function amount(text) {
  const said = text.replace("−", "-").match(/^[<>+]?(-?[0-9.]+)(?:\s*(%|times|[GMkmµnp]?(?:s|J|B|W|Hz|bit\/s)))?(?: less)?$/);
  if (!said) return { text };
  const [, number, unit = ""] = said, bare = unit.replace(/^[GMkmµnp](?=.)/, "");
  const factor = unit === "%" ? 0.01 : unit === "times" || unit === bare ? 1 : PREFIXES.find(([, prefix]) => prefix === unit[0])[0];
  return { number: Number((number * factor).toPrecision(12)), unit: unit === "%" || unit === "times" ? "" : bare };
}

const cellText = (cell) => (cell.dataset.csv ?? cell.innerText ?? cell.textContent).trim().replace(/\s+/g, " ");

function asCsv(rows) {
  const texts = rows.map((row) => [...row.cells].map(cellText));
  const [head, ...body] = texts;
  const columns = head.map((_, at) => body.map((row) => amount(row[at] ?? "")));
  const units = columns.map((column) => column.every(({ number }) => number !== undefined) ? [...new Set(column.map(({ unit }) => unit))] : []);
  const is = (at) => units[at].length === 1;
  const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : String(text);
  return [head.map((name, at) => is(at) && units[at][0] ? `${name} (${units[at][0]})` : name),
    ...body.map((row, k) => row.map((text, at) => is(at) ? columns[at][k].number : text))].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => copyByHand(text));
  return Promise.resolve(copyByHand(text));
}

function copyByHand(text) {
  const area = h("textarea", null, text);
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// A table: a click on a column's name sorts by it, again the other way round; all of it can be had as CSV.
function table(head, rows) {
  const body = h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell, at) => {
    const td = cell instanceof Element && cell.tagName === "TD" ? cell : h("td", null, cell);
    td.dataset.label = head[at][0];
    return td;
  }))));
  const several = rows.length > 1 && !paperWidth;
  const names = head.map(([name, kind], at) => h("th", { class: kind || "", scope: "col" },
    several && name ? h("button", { type: "button", class: "sort", title: "sort", click: () => sort(at) }, name) : name));
  const sort = (at) => {
    const down = names[at].getAttribute("aria-sort") === "ascending";
    names.forEach((th) => th.removeAttribute("aria-sort"));
    names[at].setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => amount(cellText(row.cells[at]));
    const order = (a, b) => a.number === undefined || b.number === undefined
      ? (a.number === undefined) - (b.number === undefined) || String(a.text).localeCompare(String(b.text)) : a.number - b.number;
    body.append(...[...body.rows].map((row) => [key(row), row]).sort(([a], [b]) => down ? order(b, a) : order(a, b)).map(([, row]) => row));
  };
  const top = h("tr", null, names);
  const taken = h("button", { type: "button", class: "plain hint", click: () => copy(asCsv([top, ...body.rows])).then((done) => { taken.textContent = done ? "copied" : "could not be copied"; }) }, "copy as CSV");
  return h("div", { class: "scroll" }, h("table", null, h("thead", null, top), body), paperWidth ? null : taken);
}

function originMarks(steps, transfers) {
  const marks = [quiet(planOrigin(steps, "latency"), "time")];
  if (data.has_energy && steps.some((step) => devices.get(step.device).energy_origin)) {
    marks.push(quiet(planOrigin(steps, "energy"), "energy"));
  }
  if (transfers) marks.push(quiet("modelled", "transfers"));
  return h("span", { class: "badges" }, marks);
}

const costs = (time, energy) => quantity(time, "s") + (energy === null || energy === undefined ? "" : ` · ${quantity(energy, "J")}`);
const between = ({ low, high }, unit) => [...new Set([low, high].map((end) => quantity(end, unit)))].join(" to ");

// The steps in words, a device's together: "conv1 – conv3 + conv4 at 922 MHz, conv5 at 614 MHz on nano; fc1 on server".
function stepTexts(steps) {
  const runs = [];
  for (const step of steps) {
    const { device, frequency_hz: hz } = step;
    if (!runs.length || runs.at(-1).device !== device) runs.push({ device, clocks: [] });
    const { clocks } = runs.at(-1);
    if (!clocks.length || clocks.at(-1).hz !== hz) clocks.push({ hz, names: [] });
    clocks.at(-1).names.push(bundleName(step));
  }
  const told = ({ hz, names }) => names.join(" + ") + (hz < 0 ? "" : ` at ${clock(hz)}`);
  return runs.map(({ device, clocks }) => `${clocks.map(told).join(", ")} on ${device}`).join("; ");
}

// A plan as a small strip with its steps in words below.
const drawnPlan = (steps) => [strip(steps, "small"), h("div", { class: "note" }, stepTexts(steps))];

const planCell = (steps) => h("td", { class: "wide", "data-csv": stepTexts(steps) }, h("div", null, drawnPlan(steps)));

const HINT = "Point at it, tap it, or use the arrow keys:";

// Where a plot tells what lies behind a point.
function readout() {
  const host = h("div", { class: "readout", "aria-live": "polite" });
  host.show = (title, numbers, steps, extra) => {
    host.replaceChildren();
    build(host, null, [h("b", null, title), " ", h("span", { class: "num" }, numbers), steps ? drawnPlan(steps) : null,
      extra ? h("div", { class: "note" }, extra) : null]);
  };
  return host;
}

// Buttons of which one is pressed: [[name, value]].
function choice(options, pressed, act, what = "") {
  const buttons = options.map(([name, value]) => h("button", {
    type: "button", "aria-pressed": String(value === pressed),
    click: (event) => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      act(value);
    } }, name));
  return h("div", { class: "choice" }, what ? h("span", null, what) : null, buttons);
}
