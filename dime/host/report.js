"use strict";
// The report's sections. Each is shown when its data are there.

const section = (title, note, ...content) =>
  h("section", null, h("h2", null, title), note ? h("p", { class: "note" }, note) : null, content);
const fact = (value, name) => h("div", null, h("b", null, value), h("span", null, name));
const num = (text, tag = "td") => h(tag, { class: "num" }, text);
const timeOf = (plan) => data.goal === "throughput" ? plan.period_s : plan.latency_s;
const timeName = data.goal === "throughput" ? "slowest stage" : "latency";

function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, head.map(([name, kind]) => h("th", { class: kind || "" }, name)))),
    h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell, at) => {
      const td = cell instanceof Element && cell.tagName === "TD" ? cell : h("td", null, cell);
      td.dataset.label = head[at][0];
      return td;
    }))))));
}

function originBadges(steps, transfers) {
  const badges = [badge(planOrigin(steps, "latency"), "time")];
  if (data.has_energy && steps.some((step) => data.devices[step[2]].energy_origin)) {
    badges.push(badge(weakest(steps.map((step) => data.devices[step[2]].energy_origin)), "energy"));
  }
  if (transfers) badges.push(badge("modelled", "transfers"));
  return h("div", { class: "badges" }, badges);
}

function header() {
  const weights = [...new Set(data.devices.map((device) => device.weights).filter(Boolean))];
  return h("header", null,
    h("h1", null, data.network, ": ", data.devices.map((device) => device.name).join(" → ")),
    h("div", { class: "subtitle" }, `Plans for least ${data.goal_name}; ${count(data.layers.length, "layer")}; weights: ${weights.join(" / ") || "not stated"}`
      + (data.arithmetic === "correct" ? "" : `; radio arithmetic: ${data.arithmetic}`)),
    h("div", { class: "devices" }, data.devices.map((device, at) => h("div", { class: `device ${tint(at)}` },
      h("b", null, device.name), ` ${device.is_edge ? "holds input and result" : "server"}`,
      h("div", { class: "note" }, `${device.frequencies_hz.length > 1 ? count(device.frequencies_hz.length, "clock") : clock(device.frequencies_hz[0])}, `
        + `${count(device.runs, "run")} of ${count(device.bundles, "bundle")}`),
      h("div", { class: "badges" }, badge(device.origin, "time"),
        device.energy_origin ? badge(device.energy_origin, "energy") : h("span", { class: "note" }, "no energy")),
      device.energy_model ? h("div", { class: "note" }, `energy model: ${device.energy_model}`) : null))));
}

function overview(show) {
  const best = (link, name) => link.baselines.find((row) => row.name === name);
  const others = [...data.devices.map((device) => `all on ${device.name}`), "best single cut"]
    .filter((name) => data.links.some((link) => best(link, name)));
  const origins = (plan) => originBadges(plan.steps, plan.transfers.length);
  return section("Every link at a glance", `Percentages: the share of the ${data.goal_name} that the plan saves against that way of placing the network.`,
    table([["link"], ["plan"], [timeName, "num"], ...(data.has_energy ? [["energy", "num"]] : []), ...others.map((name) => [name, "num"]), ["origin"]],
      data.links.map((link, at) => [
        h("td", null, h("b", null, link.name)),
        h("td", null, strip(link.plan.steps, "small")),
        num(quantity(timeOf(link.plan), "s")),
        ...(data.has_energy ? [num(quantity(link.plan.energy_j, "J"))] : []),
        ...others.map((name) => num(best(link, name) ? (best(link, name).reason ? "breaks a limit" : share(best(link, name).gain)) : "–")),
        h("td", null, origins(link.plan)),
      ])));
}

function planSection(link) {
  const plan = link.plan;
  const proven = /^optimal/.test(link.proof);
  const confirmed = /^confirmed/.test(link.confirmation);
  return section("The plan", null,
    h("div", { class: "facts" },
      fact(quantity(plan.latency_s, "s"), "latency"),
      fact(quantity(plan.computation_s, "s"), "computation"),
      fact(quantity(plan.communication_s, "s"), "communication"),
      data.goal === "throughput" ? fact(quantity(plan.period_s, "s"), "slowest stage") : null,
      plan.energy_j === null ? null : fact(quantity(plan.energy_j, "J"), "energy"),
      plan.energy_j === null ? null : fact(quantity(plan.radio_j, "J"), "of it radio")),
    originBadges(plan.steps, plan.transfers.length),
    h("div", { class: "proof" }, h("span", { class: proven ? "yes" : "no" }, (proven ? "✓ " : "! ") + link.proof),
      link.confirmation ? h("span", { class: confirmed ? "yes" : "no" }, (confirmed ? "✓ " : "! ") + link.confirmation) : null),
    responsive((width) => strip(plan.steps, "", width)),
    shares(plan),
    way(link));
}

function shares(plan) {
  const parts = [];
  let here = 0, sent = 0;
  const crossing = (to) => { if (to !== here) parts.push({ sent: plan.transfers[sent++] }); here = to; };
  plan.steps.forEach((step, at) => { crossing(step[2]); parts.push({ step, cost: plan.costs[at] }); });
  crossing(0);
  const bar = (what, unit, total) => {
    const cells = parts.map((part) => {
      const value = part.sent ? part.sent[what === "time" ? 4 : 5] : part.cost[what === "time" ? 0 : 1];
      if (!value) return null;
      const origin = part.sent ? "modelled" : data.devices[part.step[2]][what === "time" ? "origin" : "energy_origin"];
      const name = part.sent ? `${deviceName(part.sent[1])} to ${deviceName(part.sent[2])}` : `${bundleName(part.step[0], part.step[1])} on ${deviceName(part.step[2])}`;
      const label = value / total > 0.14 ? quantity(value, unit) : "";
      return h("i", { class: `fill ${part.sent ? "sent" : tint(part.step[2])} ${origin}`, title: `${name}: ${quantity(value, unit)}`, style: { flex: `${value / total} 1 0` } }, label);
    });
    return [h("span", null, what), h("div", { class: "bar" }, cells)];
  };
  return h("div", { class: "shares" }, bar("time", "s", plan.latency_s), plan.energy_j ? bar("energy", "J", plan.energy_j) : null);
}

function way(link) {
  const rows = [];
  const plan = link.plan;
  let here = 0, sent = 0;
  const crossing = (to) => {
    if (to !== here) {
      const [boundary, source, target, size, time, energy] = plan.transfers[sent++];
      const what = boundary === 0 ? "input" : boundary === data.layers.length ? "result" : `output of ${data.layers[boundary - 1]}`;
      rows.push(h("li", { class: "crossing" }, h("span", { class: "mark fill sent modelled" }),
        h("span", null, `${what}, ${quantity(size, "B")}: ${deviceName(source)} → ${deviceName(target)}`),
        h("div", { class: "badges" }, badge("modelled")),
        h("span", { class: "cost num" }, costs(time, energy))));
    }
    here = to;
  };
  plan.steps.forEach(([first, last, device, hz], at) => {
    crossing(device);
    const origins = [badge(data.devices[device].origin, data.devices[device].energy_origin ? "time" : "")];
    if (data.has_energy && data.devices[device].energy_origin) origins.push(badge(data.devices[device].energy_origin, "energy"));
    rows.push(h("li", null, h("span", { class: `mark fill ${tint(device)} ${data.devices[device].origin}` }),
      h("span", null, h("b", null, bundleName(first, last)), " ", h("small", null, `${count(last - first + 1, "layer")} on ${deviceName(device)}, ${clock(hz)}`)),
      h("div", { class: "badges" }, origins),
      h("span", { class: "cost num" }, costs(...plan.costs[at]))));
  });
  crossing(0);
  return h("ol", { class: "way" }, rows);
}

const costs = (time, energy) => quantity(time, "s") + (energy === null || energy === undefined ? "" : ` · ${quantity(energy, "J")}`);

const between = ([low, high], unit) => `${quantity(low, unit)} to ${quantity(high, unit)}`;

// Steps of a plan behind a point, below its plot.
function readout(empty) {
  const host = h("div", { class: "readout", "aria-live": "polite" }, h("p", { class: "note" }, empty));
  host.show = (title, numbers, steps, extra) => host.replaceChildren(h("b", null, title), " ", h("span", { class: "num" }, numbers),
    steps ? strip(steps, "small") : null,
    steps ? h("div", { class: "note" }, steps.map(([a, b, device, hz]) => `${bundleName(a, b)} on ${deviceName(device)}${hz < 0 ? "" : ` at ${clock(hz)}`}`).join("; ")) : null,
    extra ? h("div", { class: "note" }, extra) : null);
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

const letters = (at) => String.fromCharCode(97 + at);

function frontierPoints(link) {
  const front = link.frontier;
  return front.time_s.map((time, at) => ({ x: time, y: front.energy_j[at], steps: front.steps[at], interval: front.intervals[at], name: `point ${at + 1} of ${front.count}` }));
}

function frontierSection(link) {
  const front = link.frontier;
  if (!front) return null;
  const points = frontierPoints(link);
  const rivals = link.baselines.slice(1).map((row, at) => ({ row, letter: letters(at) })).filter(({ row }) => row.plan && row.plan.energy_j !== null)
    .map(({ row, letter }) => ({ x: timeOf(row.plan), y: row.plan.energy_j, steps: row.plan.steps, interval: row.interval, name: row.name, letter, out: Boolean(row.reason) }));
  const chosen = { x: timeOf(link.plan), y: link.plan.energy_j, steps: link.plan.steps, interval: link.interval, name: "the chosen plan" };
  const shown = readout("Point at the plot, tap it, or use the arrow keys: the plan behind the nearest point appears here.");
  const most = { x: 1.5 * Math.max(chosen.x, ...points.map((point) => point.x)), y: 1.5 * Math.max(chosen.y, ...points.map((point) => point.y)) };
  const far = rivals.filter((rival) => rival.x > most.x || rival.y > most.y);
  const near = rivals.filter((rival) => !far.includes(rival));
  const host = h("div");
  const redraw = (all) => host.replaceChildren(responsive((width) => frontierPlot(link, width, points, all ? rivals : near, all ? [] : far, chosen, shown)));
  redraw(false);
  const thinned = points.length < front.count ? ` Drawn: ${points.length} of them, evenly spread.` : "";
  const whole = front.complete ? `All ${front.count} best trade-offs; no plan lies below or left of the line.` : `${front.count} trade-offs found before the time ran out; there may be better ones.`;
  const origin = weakest([...new Set(points.flatMap((point) => point.steps.map((step) => step[2])))].flatMap((at) => [data.devices[at].origin, data.devices[at].energy_origin]));
  return section(`Trade-off of ${timeName} and energy`, (front.count === 1 ? "One plan is best in both." : whole) + thinned,
    far.length ? choice([["close up", false], ["everything", true]], false, redraw) : null,
    h("figure", null, host, h("figcaption", null,
      h("span", null, s("svg", { width: 16, height: 14 }, originMark(origin, 8, 7, 4)), "best trade-off, computation ", badge(origin)),
      h("span", null, s("svg", { width: 18, height: 18 }, s("circle", { class: "ring", cx: 9, cy: 9, r: 6 })), "chosen plan"),
      rivals.map((rival) => h("span", null, h("span", { class: "letter" }, rival.letter), rival.name + (rival.out ? " (breaks a limit)" : "")
        + (far.includes(rival) ? `, ${costs(rival.x, rival.y)}` : ""))),
      h("span", null, "transfers ", badge("modelled")))),
    shown);
}

function frontierPlot(link, width, points, rivals, far, chosen, shown) {
  const all = [...points, ...rivals, chosen];
  const height = Math.round(Math.min(460, Math.max(300, width * 0.62)));
  const origins = points.map((point) => weakest([planOrigin(point.steps, "latency"), planOrigin(point.steps, "energy")]));
  const named = [["fastest", 0], ["knee", link.frontier.knee], ["least energy", points.length - 1]];
  const svg = plot({
    width, height, label: `${timeName} against energy: ${points.length} best trade-offs and ${rivals.length} baselines`,
    x: { label: timeName, unit: "s", ...bounds([...all.map((point) => point.x), ...(chosen.interval ? chosen.interval[0] : [])]) },
    y: { label: "energy", unit: "J", ...bounds([...all.map((point) => point.y), ...(chosen.interval ? chosen.interval[1] : [])]) },
    points: all,
    pick: (point) => shown.show(point.name, costs(point.x, point.y), point.steps, [
      point.out ? "Breaks a limit." : "", point.interval ? `Interval: ${between(point.interval[0], "s")}, ${between(point.interval[1], "J")}.` : ""].join(" ")),
    paint: (layer, X, Y, area) => {
      const corners = points.map((point, at) => (at ? `H${X(point.x)}V${Y(point.y)}` : `M${X(point.x)} ${Y(point.y)}`)).join("");
      layer.append(s("path", { class: "beyond", d: `M${X(points[0].x)} ${area.top}V${Y(points[0].y)}${corners.replace(/^M\S+ \S+?(?=[HV]|$)/, "")}H${area.right}V${area.top}Z` }),
        s("path", { class: "front", d: corners }));
      for (const point of all.filter(({ interval }) => interval)) whiskers(layer, point, X, Y, area);
      const r = points.length > 120 ? 2.2 : 3.4;
      points.forEach((point, at) => layer.append(originMark(origins[at], X(point.x), Y(point.y), r)));
      layer.append(s("circle", { class: "ring", cx: X(chosen.x), cy: Y(chosen.y), r: 6.5 }));
      rivalMarks(layer, rivals, X, Y, area);
      if (far.length) rivalBox(layer, area.right, area.top, `${far.map((rival) => rival.letter).join(" ")} ↗`, false, area);
      pointLabels(layer, points, named, X, Y, area);
    },
  });
  return svg;
}

function whiskers(layer, { x, y, interval: [time, energy] }, X, Y, area) {
  const [left, right] = time.map((end) => Math.min(area.right, Math.max(area.left, X(end))));
  const [low, high] = energy.map((end) => Math.min(area.bottom, Math.max(area.top, Y(end))));
  layer.append(s("path", { class: "whisker", d: `M${left} ${Y(y)}H${right}M${X(x)} ${low}V${high}M${left} ${Y(y) - 3}v6M${right} ${Y(y) - 3}v6M${X(x) - 3} ${low}h6M${X(x) - 3} ${high}h6` }));
}

function rivalMarks(layer, rivals, X, Y, area) {
  const groups = [];
  for (const rival of rivals) {
    const [x, y] = [X(rival.x), Y(rival.y)];
    const group = groups.find((other) => Math.hypot(other.x - x, other.y - y) < 14);
    if (group) group.text += ` ${rival.letter}`;
    else groups.push({ x, y, text: rival.letter, out: rival.out });
    layer.append(s("path", { class: "whisker", d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}` }));
  }
  for (const { x, y, text, out } of groups) rivalBox(layer, x, y, text, out, area);
}

function rivalBox(layer, x, y, text, out, area) {
  const wide = 10 + 6.5 * text.length;
  const left = Math.min(x + 8, area.right - wide), top = Math.max(1, y - 25);
  layer.append(s("rect", { class: out ? "box out" : "box", x: left, y: top, width: wide, height: 18, rx: 4 }),
    s("text", { x: left + wide / 2, y: top + 13, "text-anchor": "middle", "font-weight": 700 }, text));
}

function pointLabels(layer, points, named, X, Y, area) {
  const places = new Map();
  for (const [name, at] of named) places.set(at, [...(places.get(at) || []), name]);
  for (const [at, names] of places) {
    const [x, y] = [X(points[at].x), Y(points[at].y)];
    const text = names.join(", ");
    const right = x - area.left < 7 * text.length + 12;
    layer.append(s("text", { class: "halo", x: right ? x + 11 : x - 9, y: right ? y + 4 : y + 17, "text-anchor": right ? "start" : "end" }, text));
  }
}

function baselineSection(link) {
  const rows = link.baselines;
  if (!rows.length) return null;
  const bar = (row, what) => {
    const [total, believed] = what === "time" ? [row.plan.latency_s, row.believed_latency_s] : [row.plan.energy_j, row.believed_energy_j];
    const own = what === "time" ? rows[0].plan.latency_s : rows[0].plan.energy_j;
    const feasible = rows.filter((other) => other.plan).map((other) => what === "time" ? other.plan.latency_s : other.plan.energy_j);
    const most = Math.min(Math.max(...feasible), own > 0 ? 4 * own : Infinity);
    const per = rowParts(row.plan, what);
    const clipped = total > most * 1.001;
    const shownParts = clipped ? clip(per, most) : per;
    const sum = shownParts.reduce((part, { value }) => part + value, 0);
    const cells = shownParts.map(({ kind, value }) => h("i", { class: kind, style: { flex: `${value / sum} 1 0` } }));
    const unit = what === "time" ? "s" : "J";
    return h("div", { class: "bar", title: `${what}: ${quantity(total, unit)}` },
      h("div", { style: { display: "flex", gap: "1px", width: `${(clipped ? 94 : 94 * total / most) || 0}%` } }, cells),
      clipped ? h("span", { class: "cut" }, "…") : null,
      row !== rows[0] && believed > 0 && believed <= most && Math.abs(believed - total) > 0.005 * total
        ? h("span", { class: "believed", title: `believed: ${quantity(believed, unit)}`, style: { left: `${94 * believed / most}%` } }) : null);
  };
  const energetic = (row) => row.plan.energy_j !== null;
  const marks = rows.some((row, at) => at && row.plan && Math.abs(row.believed_latency_s - row.plan.latency_s) > 0.005 * row.plan.latency_s);
  return section("Against other ways to place the network",
    (data.has_energy ? "What each plan really costs, by the bundles it runs: time above, energy below." : "What each plan really takes, by the bundles it runs.") + " Computation in the device's colour, transfers grey; a bar that ends in … goes on."
    + (marks ? " The black tick is what the method itself believes." : ""),
    h("div", { class: "rows" }, rows.map((row, at) => [
      h("div", { class: row.reason ? "who infeasible" : "who" }, h("span", { class: at ? "letter" : "letter ours" }, at ? letters(at - 1) : "D"),
        h("span", null, row.name, h("small", null, at ? row.source : "this plan"))),
      h("div", { class: row.reason ? "bars infeasible" : "bars" }, row.plan ? [bar(row, "time"), energetic(row) ? bar(row, "energy") : null] : null,
        row.reason ? h("small", null, row.reason) : null),
      h("div", { class: "figures" }, row.plan ? [h("div", { class: "num" }, quantity(timeOf(row.plan), "s")), energetic(row) ? h("div", { class: "num" }, quantity(row.plan.energy_j, "J")) : null] : "–",
        at && !row.reason ? h("div", { class: "note num" }, `DIME saves ${share(row.gain)}`) : null),
    ])));
}

function rowParts(plan, what) {
  const parts = data.devices.map((device, at) => ({
    kind: `fill ${tint(at)} ${(what === "time" ? device.origin : device.energy_origin) || ""}`,
    value: plan.steps.reduce((sum, step, k) => sum + (step[2] === at ? plan.costs[k][what === "time" ? 0 : 1] || 0 : 0), 0),
  }));
  parts.push({ kind: "fill sent modelled", value: what === "time" ? plan.communication_s : plan.radio_j });
  return parts.filter(({ value }) => value > 0);
}

function clip(parts, most) {
  let left = most;
  return parts.map(({ kind, value }) => {
    const kept = Math.min(value, left);
    left -= kept;
    return { kind, value: kept };
  }).filter(({ value }) => value > 0);
}

function certaintySection(link) {
  const found = link.certainty;
  if (!found) return null;
  const percent = `${Number((100 * found.confidence).toPrecision(4))} %`;
  const others = found.winners.map(([steps, part]) => [strip(steps, "small"), h("div", { class: "note" },
    steps.map(([a, b, device, hz]) => `${bundleName(a, b)} on ${deviceName(device)}${hz < 0 ? "" : ` at ${clock(hz)}`}`).join("; ")), part]);
  return section("How sure this is", `From ${found.replicates} profiles drawn anew from the raw runs. Transfers are modelled and do not vary.`,
    h("div", { class: "facts" },
      fact(share(found.best_share), "of them: this plan is the best"),
      found.regret === null ? null : fact(quantity(found.regret, found.unit), "it costs more than the best, on average"),
      found.regret_high === null ? null : fact(quantity(found.regret_high, found.unit), `at most, in ${share((1 + found.confidence) / 2)}`),
      found.kept_share < 1 ? fact(share(found.kept_share), "of them: it keeps the limits") : null,
      found.infeasible_share > 0 ? fact(share(found.infeasible_share), "of them: no plan keeps the limits") : null),
    h("p", null, `${percent} interval of the latency ${between(found.latency_s, "s")}`, found.energy_j ? `, of the energy ${between(found.energy_j, "J")}.` : "."),
    others.length > 1 ? [h("h3", null, "Plans that are the best at times"),
      table([["plan"], ["share of the draws", "num"]], others.map(([drawn, text, part]) => [h("td", null, drawn, text), num(share(part))])),
      found.other_winners ? h("p", { class: "note" }, `and ${count(found.other_winners, "more plan")}`) : null] : null,
    h("h3", null, "Worth measuring again"),
    found.measure_next.length ? table([["bundle"], ["device"], ["clock", "num"], ["chance to change the plan", "num"], ["expected gain", "num"]], found.measure_next.map((cell) =>
      [cell.bundle, cell.device, num(cell.frequency_hz < 0 ? "left alone" : clock(cell.frequency_hz)), num(share(cell.chance)), num(quantity(cell.gain, found.unit))]))
      : h("p", { class: "note" }, "No single bundle, measured again, would change the plan."));
}

function effectSection() {
  const groups = data.effect.filter((group) => group.bundles.length);
  if (!groups.length) return null;
  const shown = readout("Point at the plot: the bundle behind the nearest mark appears here.");
  const clocks = data.devices.map((device, at) => groups.filter((group) => group.device === at));
  const picked = clocks.map((list) => list.length - 1);
  const host = h("div");
  const redraw = () => host.replaceChildren(responsive((width) => effectPlot(width, clocks.map((list, at) => list[picked[at]]).filter(Boolean), shown)));
  const buttons = clocks.map((list, at) => list.length < 2 ? null : choice(list.map((group, k) => [clock(group.frequency_hz), k]), picked[at], (k) => {
    picked[at] = k;
    redraw();
  }, deviceName(at)));
  redraw();
  return section("The bundle effect", "Time of each bundle against the sum of its layers' times, each run alone. Below zero, running layers together is faster than the sum says.",
    buttons,
    h("figure", null, host, h("figcaption", null, groups.filter((group, at) => groups.findIndex((other) => other.device === group.device) === at).map((group) =>
      h("span", null, s("svg", { width: 14, height: 14 }, deviceMark(group.device, 7, 7, 4.5)), deviceName(group.device), badge(data.devices[group.device].origin))),
      h("span", null, "lines: medians"))), shown);
}

const signed = (percent) => `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(Number(percent.toPrecision(3)))} %`;

function deviceMark(at, x, y, r) {
  const kind = `v${at % 6}` + (data.devices[at].origin === "measured" ? "" : " hollow");
  if (at % 3 === 1) return s("rect", { class: kind, x: x - r * 0.85, y: y - r * 0.85, width: r * 1.7, height: r * 1.7 });
  if (at % 3 === 2) return s("path", { class: kind, d: `M${x} ${y - r}L${x + r} ${y + r * 0.8}H${x - r}Z` });
  return s("circle", { class: kind, cx: x, cy: y, r: r * 0.9 });
}

function effectPlot(width, groups, shown) {
  const N = data.layers.length;
  const points = groups.flatMap((group, k) => group.bundles.map(([first, last, time, sum]) => ({
    x: last - first + 1 + 0.6 * ((k + (first + 1) / (N + 1)) / groups.length - 0.5), y: time / sum - 1, first, last, time, sum, device: group.device, hz: group.frequency_hz, length: last - first + 1 })));
  const range = bounds([0, ...points.map((point) => point.y)], Infinity);
  return plot({
    width, height: Math.round(Math.min(380, Math.max(260, width * 0.5))),
    label: "Bundle time against the sum of its layers, by number of layers",
    x: { label: "layers in the bundle", low: 1.5, high: N + 0.6, ticks: linearTicks(2, N, Math.min(N, Math.floor(width / 50))).filter((tick) => Number.isInteger(tick)), text: String },
    y: { label: "bundle time relative to the sum", low: range.low, high: range.high, text: (tick) => signed(100 * tick) },
    points,
    pick: (point) => shown.show(`${bundleName(point.first, point.last)} on ${deviceName(point.device)}`,
      `${quantity(point.time, "s")} together, ${quantity(point.sum, "s")} as a sum: ${signed(100 * point.y)}`, null,
      `${count(point.length, "layer")}, ${clock(point.hz)}`),
    paint: (layer, X, Y, area) => {
      layer.append(s("line", { class: "zero", x1: area.left, x2: area.right, y1: Y(0), y2: Y(0) }));
      for (const point of points) layer.append(deviceMark(point.device, X(point.x), Y(point.y), points.length > 300 ? 2.4 : 4));
      groups.forEach((group, k) => {
        const path = [];
        for (let length = 2; length <= N; length += 1) {
          const ratios = points.filter((point) => point.device === group.device && point.length === length).map((point) => point.y).sort((a, b) => a - b);
          if (!ratios.length) continue;
          const middle = (ratios[(ratios.length - 1) >> 1] + ratios[ratios.length >> 1]) / 2;
          const x = length + 0.6 * ((k + 0.5) / groups.length - 0.5);
          path.push(`${path.length ? "L" : "M"}${X(x)} ${Y(middle)}`);
        }
        layer.append(s("path", { class: `median v${group.device % 6}`, style: { fill: "none" }, d: path.join("") }));
      });
    },
  });
}

function sourcesSection() {
  return section("Where the numbers come from", null,
    h("div", { class: "badges" }, badge("measured"), h("span", { class: "note" }, "this device, this run")),
    h("div", { class: "badges" }, badge("replayed"), h("span", { class: "note" }, "a recording of a measurement")),
    h("div", { class: "badges" }, badge("modelled"), h("span", { class: "note" }, "a formula: every transfer (bytes over the link's rate), radio energy, energy from a stated power")),
    h("h3", null, "Links"),
    table([["link"], ["from – to"], ["up", "num"], ["down", "num"], ["round trip", "num"], ["source"]], data.links.flatMap((link) => link.rates.map((rate) => [
      link.name, rate.pair.map(deviceName).join(" – "), num(quantity(rate.upload_bit_s, "bit/s")), num(quantity(rate.download_bit_s, "bit/s")), num(quantity(rate.round_trip_s, "s")), rate.source]))),
    h("h3", null, "Runs"),
    data.sources.map((source) => h("details", null, h("summary", null, source.device),
      h("dl", { class: "run" }, h("dt", null, "table"), h("dd", null, h("code", null, source.path)),
        source.facts.map(([name, value]) => [h("dt", null, name), h("dd", null, h("code", null, value))])),
      source.facts.length ? null : h("p", { class: "note" }, "There is no run.json beside this table: how it came to be is not recorded."))),
    data.command ? [h("h3", null, "Command"), h("p", null, h("code", null, data.command))] : null,
    h("p", { class: "note" }, `DIME ${data.versions.dime}, Python ${data.versions.python}`));
}

function main() {
  const panel = h("div", { role: "tabpanel", id: "panel" });
  const show = (at) => {
    const link = data.links[at];
    panel.replaceChildren(...[planSection, frontierSection, baselineSection, certaintySection].map((make) => make(link)).filter(Boolean));
    tabs.forEach((tab, k) => {
      tab.setAttribute("aria-selected", String(k === at));
      tab.tabIndex = k === at ? 0 : -1;
    });
  };
  const tabs = data.links.map((link, at) => h("button", {
    type: "button", role: "tab", "aria-controls": "panel", click: () => show(at),
    keydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (at + step + tabs.length) % tabs.length;
      show(next);
      tabs[next].focus();
    } }, link.name));
  document.getElementById("page").append(...[header(), data.links.length > 1 ? overview(show) : null,
    h("nav", { class: "tabs", role: "tablist", "aria-label": "links" }, tabs), panel, effectSection(), sourcesSection()].filter(Boolean));
  show(0);
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.ready = "true"; }));
}

main();
