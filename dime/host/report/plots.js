"use strict";
// The sections with plots: trade-off, map of break-even points, bundle effect.

function frontierPoints(link) {
  const front = link.frontier;
  return front.points.map(({ number, time_s: x, energy_j: y, steps, interval }) => ({ x, y, steps, interval, number, name: `point ${number} of ${front.count}` }));
}

function frontierSection(link) {
  const front = link.frontier;
  if (!front) return null;
  const points = frontierPoints(link);
  if (front.count < 3) return fewPoints(front, points);
  const rivals = foldedRows(link).filter((row) => !row.is_chosen && row.plan && row.plan.energy_j !== null)
    .map((row) => ({ x: timeOf(row.plan), y: row.plan.energy_j, steps: row.plan.steps, interval: row.interval, name: row.name, letter: row.letter, also: row.same.map((other) => `${other.letter} ${other.name}`), out: Boolean(row.reason) }));
  const chosen = { x: timeOf(link.plan), y: link.plan.energy_j, steps: link.plan.steps, interval: link.interval, name: "the chosen plan" };
  const shown = readout();
  const most = { x: 1.5 * Math.max(chosen.x, ...points.map((point) => point.x)), y: 1.5 * Math.max(chosen.y, ...points.map((point) => point.y)) };
  const far = rivals.filter((rival) => rival.x > most.x || rival.y > most.y);
  const near = rivals.filter((rival) => !far.includes(rival));
  const host = h("div");
  const redraw = (all) => host.replaceChildren(responsive((width) => frontierPlot(link, width, points, all ? rivals : near, all ? [] : far, chosen, shown)));
  redraw(false);
  const thinned = points.length < front.count ? ` Drawn: ${points.length} of them, evenly spread.` : "";
  const whole = front.complete ? `All ${front.count} best trade-offs; no plan lies below or left of the line.` : `${front.count} trade-offs found before the time ran out; there may be better ones.`;
  const origins = ORIGINS.filter((origin) => points.some((point) => pointOrigin(point) === origin));
  tellPoint(shown, chosen);
  return section(`Trade-off of ${timeName} and energy`, `${(front.count === 1 ? "One plan is best in both." : whole) + thinned} ${HINT} the plan behind the nearest point appears below.`,
    far.length ? choice([["close up", false], ["everything", true]], false, redraw) : null,
    h("figure", null, host, h("figcaption", null,
      origins.map((origin) => h("span", null, s("svg", { width: 16, height: 14 }, originMark(origin, 8, 7, 4)), "best trade-off, computation ", origin)),
      h("span", null, s("svg", { width: 18, height: 18 }, s("circle", { class: "ring", cx: 9, cy: 9, r: 6 })), "chosen plan"),
      rivals.map((rival) => h("span", null, h("span", { class: "letter" }, rival.letter), [rival.name, ...rival.also].join(", ") + (rival.out ? " (breaks a limit)" : "")
        + (far.includes(rival) ? `, ${costs(rival.x, rival.y)}` : ""))))),
    shown);
}

// One or two trade-offs are a sentence: no axes for so little.
function fewPoints(front, points) {
  const title = `Trade-off of ${timeName} and energy`;
  const told = (point) => h("p", null, points.length > 1 ? h("b", null, point.number === 1 ? "Fastest: " : "Least energy: ") : null, `${stepTexts(point.steps)}: ${costs(point.x, point.y)}.`);
  return section(title, points.length > 1 ? "Two plans are the best trade-offs; every other is worse in one and not better in the other." : `One plan has both the least ${timeName} and the least energy; there is nothing to trade.`
    + (front.complete ? "" : " So far: the time ran out."), points.map(told));
}

const pointOrigin = (point) => weakest([planOrigin(point.steps, "latency"), planOrigin(point.steps, "energy")]);
// A frontier of more points has faint intervals; the picked point's is drawn anew.
const CROWD = 30;

function tellPoint(shown, point) {
  shown.show(point.name, costs(point.x, point.y), point.steps, [
    point.out ? "Breaks a limit." : "", point.interval ? `Interval: ${between(point.interval.time_s, "s")}, ${between(point.interval.energy_j, "J")}.` : ""].join(" ").trim());
}

function frontierPlot(link, width, points, rivals, far, chosen, shown) {
  const all = [...points, ...rivals, chosen];
  const height = paperWidth ? 280 : Math.round(Math.min(460, Math.max(300, width * 0.62)));
  const last = points.length - 1, knee = points.findIndex((point) => point.number === link.frontier.knee_number);
  const named = last ? [["fastest", 0], ...(knee > 0 && knee < last ? [["knee", knee]] : []), ["least energy", last]] : [];
  const crowded = points.length > CROWD;
  const ends = (which) => (crowded ? [chosen] : all).flatMap(({ interval }) => interval ? Object.values(interval[which]) : []);
  const svg = plot({
    width, height, label: `${timeName} against energy: ${points.length} best trade-offs and ${rivals.length} baselines`,
    x: { label: timeName, unit: "s", ...bounds([...all.map((point) => point.x), ...ends("time_s")]) },
    y: { label: "energy", unit: "J", ...bounds([...all.map((point) => point.y), ...ends("energy_j")]) },
    points: all,
    pick: (point) => tellPoint(shown, point),
    mark: (point, layer, X, Y, area) => point.interval ? whiskers(layer, point, X, Y, area, "picked") : null,
    paint: (layer, X, Y, area) => {
      const corners = points.map((point, at) => (at ? `H${X(point.x)}V${Y(point.y)}` : `M${X(point.x)} ${Y(point.y)}`)).join("");
      layer.append(s("path", { class: "beyond", d: `M${X(points[0].x)} ${area.top}V${Y(points[0].y)}${corners.replace(/^M\S+ \S+?(?=[HV]|$)/, "")}H${area.right}V${area.top}Z` }),
        s("path", { class: "front", d: corners }));
      for (const point of all.filter(({ interval }) => interval)) whiskers(layer, point, X, Y, area, crowded && points.includes(point) ? "faint" : "");
      const r = points.length > 120 ? 2.2 : 3.4;
      points.forEach((point) => layer.append(originMark(pointOrigin(point), X(point.x), Y(point.y), r)));
      layer.append(s("circle", { class: "ring", cx: X(chosen.x), cy: Y(chosen.y), r: 6.5 }));
      const taken = [];
      if (far.length) rivalBox(layer, area.right, area.top, `${far.map((rival) => rival.letter).join(" ")} ↗`, false, area, taken);
      rivalMarks(layer, rivals, X, Y, area, taken);
      pointLabels(layer, points, named, X, Y, area, taken);
    },
  });
  return svg;
}

function whiskers(layer, { x, y, interval }, X, Y, area, kind) {
  const [left, right] = [interval.time_s.low, interval.time_s.high].map((end) => Math.min(area.right, Math.max(area.left, X(end))));
  const [low, high] = [interval.energy_j.low, interval.energy_j.high].map((end) => Math.min(area.bottom, Math.max(area.top, Y(end))));
  const caps = `M${left} ${Y(y) - 3}v6M${right} ${Y(y) - 3}v6M${X(x) - 3} ${low}h6M${X(x) - 3} ${high}h6`;
  layer.append(s("path", { class: `whisker ${kind}`, d: `M${left} ${Y(y)}H${right}M${X(x)} ${low}V${high}${kind === "faint" ? "" : caps}` }));
}

function rivalMarks(layer, rivals, X, Y, area, taken) {
  const groups = [];
  for (const rival of rivals) {
    const [x, y] = [X(rival.x), Y(rival.y)];
    const group = groups.find((other) => Math.hypot(other.x - x, other.y - y) < 14);
    if (group) group.text += ` ${rival.letter}`;
    else groups.push({ x, y, text: rival.letter, out: rival.out });
    layer.append(s("path", { class: "whisker", d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}` }));
  }
  for (const { x, y, text, out } of groups) rivalBox(layer, x, y, text, out, area, taken);
}

// The first of some rectangles that lies inside and covers none that are taken, if there is one.
function free(candidates, area, taken) {
  const fits = ([x, y, wide, high]) => x >= area.left && x + wide <= area.right + 1 && y >= 0 && y + high <= area.bottom
    && taken.every(([left, top, across, down]) => x >= left + across || left >= x + wide || y >= top + down || top >= y + high);
  const found = candidates.find(fits);
  if (found) taken.push(found);
  return found;
}

function rivalBox(layer, x, y, text, out, area, taken) {
  const wide = 10 + 6.5 * text.length;
  const right = Math.min(x + 8, area.right - wide), left = x - 8 - wide;
  const places = [[right, Math.max(1, y - 25)], [right, y + 7], [left, y - 25], [left, y + 7], [right, y - 46], [left, y - 46], [right, y + 28], [left, y + 28]].map((corner) => [...corner, wide, 18]);
  const [at, top] = free(places, area, taken) || places[0];
  layer.append(s("rect", { class: out ? "box out" : "box", x: at, y: top, width: wide, height: 18, rx: 4 }),
    s("text", { x: at + wide / 2, y: top + 13, "text-anchor": "middle", "font-weight": 700 }, text));
}

function pointLabels(layer, points, named, X, Y, area, taken) {
  for (const [text, at] of named) {
    const [x, y] = [X(points[at].x), Y(points[at].y)];
    const wide = 7 * text.length;
    const beside = [[x + 11, y - 8], [x + 11, y + 9], [x + 11, y - 25]], before = [[x - 9 - wide, y + 5], [x - 9 - wide, y - 22]];
    const place = free((x - area.left < wide + 12 ? beside : [...before, ...beside]).map((corner) => [...corner, wide, 15]), area, taken);
    if (!place) continue;
    const [left, top] = place;
    layer.append(s("text", { class: "halo", x: left > x ? left : left + wide, y: top + 12, "text-anchor": left > x ? "start" : "end" }, text));
  }
}

const KNOBS = { bandwidth: "bandwidth", upload: "upload rate", download: "download rate", round_trip: "round trip" };

function mapSection(link) {
  if (!link.maps.length) return null;
  const host = h("div");
  const redraw = (at) => host.replaceChildren(...mapOf(link, link.maps[at]));
  const names = link.maps.map((map, at) => [KNOBS[map.vary] + (map.round_trip_s === null ? "" : ` at a round trip of ${quantity(map.round_trip_s, "s")}`), at]);
  redraw(0);
  return section("Which plan for which link", "Break-even points are computed, not sampled: between two of them one plan is the best. "
    + `${link.held.length ? "Here limits hold for the means. " : ""}${HINT} the best plan of that range appears below.`,
    names.length > 1 ? choice(names, 0, redraw) : null, host);
}

// What is drawn along the axis: a rate falls as the knob, the multiple of time on the air, grows.
function knobAxis(map) {
  const rate = map.rates ? map.rates[map.vary === "download" ? "download_bit_s" : "upload_bit_s"] : 1;
  if (map.vary === "round_trip") return { of: (knob) => knob === null ? Infinity : knob, unit: "s", label: "round trip", tell: (value) => quantity(value, "s"), log: false };
  const label = !map.rates ? "multiple of the links' rates" : map.vary === "bandwidth" ? "upload rate" : KNOBS[map.vary];
  const unit = map.rates ? "bit/s" : "";
  return { of: (knob) => knob === null ? 0 : knob === 0 ? Infinity : rate / knob, unit, label, tell: (value) => quantity(value, unit) + (unit ? "" : " times"), log: true };
}

function mapOf(link, map) {
  const axis = knobAxis(map);
  const ranges = map.regions.map((region) => {
    const [from, to] = [axis.of(region.low), axis.of(region.high)].sort((a, b) => a - b);
    return { ...region, from, to };
  }).sort((a, b) => a.from - b.from);
  const here = axis.of(map.here);
  const marks = [here, ...ranges.flatMap(({ from, to }) => [from, to])].filter((value) => value > 0 && Number.isFinite(value));
  const ends = axis.log ? { low: Math.min(...marks) / 4, high: Math.max(...marks) * 4 } : { low: 0, high: (marks.length ? Math.max(...marks) : 0.05) * 1.5 };
  const told = ({ from, to }) => !(from > 0) ? (Number.isFinite(to) ? `up to ${axis.tell(to)}` : "always") : Number.isFinite(to) ? `${axis.tell(from)} to ${axis.tell(to)}` : `from ${axis.tell(from)} on`;
  const spans = ({ constant, slope, low, high }) => {
    const ends = [low, high === null ? low : high].map((knob) => constant + slope * knob);
    return between({ low: ends[0], high: ends[1] }, data.goal_unit);
  };
  const shown = readout();
  const points = ranges.map((range) => ({ ...range, from: Math.max(range.from, ends.low), to: Math.min(range.to, ends.high), told: told(range) }));
  const tell = (point) => shown.show(point.told, point.steps ? `${data.goal_name} ${spans(point)}` : "no plan keeps the limits", point.steps);
  tell(points.find((point) => here >= point.from && here <= point.to));
  return [
    h("figure", null, responsive((width) => mapPlot(width, link, axis, ends, here, points, tell)),
    h("figcaption", null, data.devices.map((device) => h("span", null, h("span", { class: `key fill ${tint(device.name)} ${device.origin}` }), device.name, quiet(device.origin, "time"))),
      map.vary === "bandwidth" && map.rates ? h("span", null, `the download rate is ${rounded(map.rates.download_bit_s / map.rates.upload_bit_s, "")} times the upload rate`) : null)),
    shown,
    h("details", null, h("summary", null, `${count(points.length, "range")} from ${axis.unit === "s" ? "short to long" : "slow to fast"}`),
      table([[axis.label], ["best plan"], [data.goal_name, "num"]], points.map((point) =>
        [point.told + (here >= point.from && here <= point.to ? " (here)" : ""), point.steps ? planCell(point.steps) : "no plan keeps the limits", num(point.steps ? spans(point) : "–")]))),
  ];
}

function mapPlot(width, link, axis, ends, here, points, pick) {
  const N = data.layers.length;
  const longest = Math.max(...data.layers.map((name) => name.length));
  const left = N > 24 ? 30 : Math.min(width * 0.3, 7.2 * longest + 12);
  const room = Math.floor((left - 12) / 7.2);
  const height = Math.min(460, Math.max(200, 20 * N + 84));
  return plot({
    width, height, left, top: 40, points, pick, byColumn: true,
    label: `Best plan by ${axis.label}: ${points.length} ranges; rows are layers, colours devices`,
    x: { label: axis.label, unit: axis.unit, ...ends, log: axis.log },
    y: { label: "", low: N, high: 0, ticks: [] },
    paint: (layer, X, Y, area) => {
      for (const point of points) {
        const [x, wide] = [X(point.from), X(point.to) - X(point.from)];
        for (const { first, last, device } of point.steps || []) {
          const high = Y(last + 1) - Y(first);
          layer.append(s("rect", { class: `v${devices.get(device).at % 6} cell`, x, y: Y(first), width: wide, height: high }),
            texture(devices.get(device).origin, x, Y(first), wide, high));
        }
        if (!point.steps) layer.append(s("text", { class: "soft", x: x + 6, y: area.top + 18 }, "no plan"));
      }
      data.layers.forEach((name, at) => {
        if (N > 24) return;
        layer.append(s("text", { class: "soft", x: left - 6, y: (Y(at) + Y(at + 1)) / 2 + 4, "text-anchor": "end" }, shortened(name, room)));
      });
      const places = [];
      for (const point of points.slice(1)) {
        const x = X(point.from);
        layer.append(s("line", { class: "even", x1: x, x2: x, y1: area.top - 5, y2: area.bottom }));
        if (places.every((other) => Math.abs(other - x) > 74)) {
          places.push(x);
          const text = axis.tell(point.from);
          layer.append(s("text", { x: inside(x, text, width), y: area.top - 8, "text-anchor": "middle" }, text));
        }
      }
      const name = `here: ${link.name.length > 24 ? "this link" : link.name}`;
      layer.append(s("line", { class: "here", x1: X(here), x2: X(here), y1: area.top - 4, y2: area.bottom + 6 }),
        s("text", { class: "named", x: inside(X(here), name, width), y: area.top - 25, "text-anchor": "middle" }, name));
    },
  });
}

function effectSection() {
  const groups = data.effect.filter((group) => group.bundles.length);
  if (!groups.length) return null;
  const shown = readout();
  const clocks = data.devices.map(({ name }) => groups.filter((group) => group.device === name));
  const picked = clocks.map((list) => list.length - 1);
  const host = h("div");
  const redraw = () => host.replaceChildren(responsive((width) => effectPlot(width, clocks.map((list, at) => list[picked[at]]).filter(Boolean), shown)));
  const buttons = clocks.map((list, at) => list.length < 2 ? null : choice(list.map((group, k) => [clock(group.frequency_hz), k]), picked[at], (k) => {
    picked[at] = k;
    redraw();
  }, data.devices[at].name));
  redraw();
  return section("The bundle effect", `Time of each bundle against the sum of its layers' times, each run alone. Below zero, running layers together is faster than the sum says. ${HINT} the bundle behind the nearest mark appears below.`,
    buttons,
    h("figure", null, host, h("figcaption", null, groups.filter((group, at) => groups.findIndex((other) => other.device === group.device) === at).map((group) =>
      h("span", null, s("svg", { width: 14, height: 14 }, deviceMark(group.device, 7, 7, 4.5)), group.device, quiet(devices.get(group.device).origin, "time"))),
      h("span", null, "lines: medians"))), shown);
}

const signed = (percent) => `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(Number(percent.toPrecision(3)))} %`;

function deviceMark(device, x, y, r) {
  const { at, origin } = devices.get(device);
  const kind = `v${at % 6}` + (origin === "measured" ? "" : " hollow");
  if (at % 3 === 1) return s("rect", { class: kind, x: x - r * 0.85, y: y - r * 0.85, width: r * 1.7, height: r * 1.7 });
  if (at % 3 === 2) return s("path", { class: kind, d: `M${x} ${y - r}L${x + r} ${y + r * 0.8}H${x - r}Z` });
  return s("circle", { class: kind, cx: x, cy: y, r: r * 0.9 });
}

function tellBundle(shown, { first, last, device, hz, time, sum, y }) {
  shown.show(`${bundleName({ first, last })} on ${device}`, `${quantity(time, "s")} together, ${quantity(sum, "s")} as a sum: ${signed(100 * y)}`, null,
    `${count(last - first + 1, "layer")}, ${clock(hz)}`);
}

function effectPlot(width, groups, shown) {
  const N = data.layers.length;
  const points = groups.flatMap((group, k) => group.bundles.map(({ first, last, latency_s: time, sum_s: sum }) => ({
    x: last - first + 1 + 0.6 * ((k + (first + 1) / (N + 1)) / groups.length - 0.5), y: time / sum - 1, first, last, time, sum, device: group.device, hz: group.frequency_hz })));
  tellBundle(shown, points.reduce((most, point) => Math.abs(point.y) > Math.abs(most.y) ? point : most));
  const range = bounds([0, ...points.map((point) => point.y)], Infinity);
  return plot({
    width, height: Math.round(Math.min(380, Math.max(260, width * 0.5))),
    label: "Bundle time against the sum of its layers, by number of layers",
    x: { label: "layers in the bundle", low: 1.5, high: N + 0.6, ticks: linearTicks(2, N, Math.min(N, Math.floor(width / 50))).filter((tick) => Number.isInteger(tick)), text: String },
    y: { label: "bundle time relative to the sum", low: range.low, high: range.high, text: (tick) => signed(100 * tick) },
    points,
    pick: (point) => tellBundle(shown, point),
    paint: (layer, X, Y, area) => {
      layer.append(s("line", { class: "zero", x1: area.left, x2: area.right, y1: Y(0), y2: Y(0) }));
      for (const point of points) layer.append(deviceMark(point.device, X(point.x), Y(point.y), points.length > 300 ? 2.4 : 4));
      groups.forEach((group, k) => {
        const path = [];
        for (let length = 2; length <= N; length += 1) {
          const ratios = points.filter((point) => point.device === group.device && point.last - point.first + 1 === length).map((point) => point.y).sort((a, b) => a - b);
          if (!ratios.length) continue;
          const middle = (ratios[(ratios.length - 1) >> 1] + ratios[ratios.length >> 1]) / 2;
          const x = length + 0.6 * ((k + 0.5) / groups.length - 0.5);
          path.push(`${path.length ? "L" : "M"}${X(x)} ${Y(middle)}`);
        }
        layer.append(s("path", { class: `median v${devices.get(group.device).at % 6}`, style: { fill: "none" }, d: path.join("") }));
      });
    },
  });
}
