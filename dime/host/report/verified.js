"use strict";
// Plans that were run: what was predicted beside what was measured.

const SAID = { compute: "compute", crossing: "crossing", copies: "copies to and from the GPU", clock: "change of clock", encoding: "encoding", overhead: "overhead" };
const noted = (text) => h("p", { class: "note" }, text);
const VERDICT = new Map([[true, "holds"], [false, "does not hold"], [null, "no verdict"]]);

function verifiedSection(link) {
  const found = data.verification && data.verification.links.find((one) => one.name === link.name.replace(/[^A-Za-z0-9._-]+/g, "_"));
  if (!found) return null;
  const what = found.goal === "throughput" ? "time from one result to the next" : "latency";
  const known = found.plans.filter((plan) => plan.holds !== null);
  const held = known.filter((plan) => plan.holds).length;
  const best = found.plans.find((plan) => plan.name === found.best);
  const one = h("div");
  const show = (plan) => one.replaceChildren(strips(plan, found.origin));
  show(found.plans[0]);
  return section("Run, and held against the prediction",
    `Mean ${what} of typical requests. A prediction holds if the measured mean lies in its 95 % interval, widened by the measurement's own; that was fixed before the run.`,
    h("div", { class: "badges" }, badge(found.origin, "ran"), ...(found.origin === "measured" ? [] : [h("span", { class: "note" }, "a program between the devices lets real bytes through no faster than the link would")])),
    h("div", { class: "facts" },
      fact(`${held} of ${known.length}`, "predictions hold"),
      fact(percent(Math.max(0, found.regret)), "more than the best that was run"),
      fact(best.name, "best that was run"),
      fact(found.is_ordered ? "as predicted" : "another", "order of the plans")),
    responsive((width) => intervals(found, width)),
    figcaption(found),
    table([["plan"], ["predicted", "num"], ["measured", "num"], ["median", "num"], ["95 % of requests", "num"], ["requests", "num"], ["error", "num"], ["verdict"]],
      found.plans.map((plan) => [
        h("td", null, h("b", null, `${plan.letter} ${plan.name}`.trim()), plan.also.length ? h("div", { class: "note" }, `also ${plan.also.join(", ")}`) : null),
        num(withEnds(plan.predicted)), num(withEnds(plan.measured)), num(quantity(plan.measured.median_s, "s")), num(quantity(plan.measured.p95_s, "s")),
        num(String(plan.measured.requests)), num(`${(100 * plan.relative_error).toFixed(1)} %`),
        h("td", null, VERDICT.get(plan.holds), plan.fallbacks ? h("div", { class: "note" }, `${count(plan.fallbacks, "request")} finished on ${data.devices[0].name} alone`) : null)])),
    h("h3", null, "Where the time went"),
    found.plans.length > 1 ? choice(found.plans.map((plan, at) => [`${plan.letter} ${plan.name}`.trim(), at]), 0, (at) => show(found.plans[at]), "plan") : null,
    one,
    found.plans.filter((plan) => plan.effect).map((plan) => noted(`${plan.name}, ${plan.encoded.map((one) => `${tensorAt(one.boundary)} as ${one.encoding}`).join(", ")}: ${effectOf(plan.effect)}.`)),
    found.plans.flatMap((plan) => (plan.energies || []).map((one) => noted(joulesOf(plan, one)))),
    found.notes.map((note) => noted(note)),
    noted(`verified/${data.verification.folder}, ${data.verification.started_utc}; verification.parquet has each request`));
}

// A plan's joules a request on one device, which a meter watched.
function joulesOf(plan, one) {
  const told = ({ mean_j, interval_j }) => quantity(mean_j, "J") + (interval_j ? ` (${interval_j.map((end) => quantity(Math.max(0, end), "J")).join(" to ")})` : "");
  const name = `Joules of ${one.device}, ${plan.name}: `;
  if (one.measured.mean_j === null) return `${name}not told by its meter: ${one.measured.why_not}`;
  if (one.predicted.mean_j === null) return `${name}measured ${told(one.measured)}; the plan has none of it`;
  return `${name}predicted ${told(one.predicted)}, measured ${told(one.measured)}: ${VERDICT.get(one.holds)}`;
}

const withEnds = ({ mean_s, interval_s }) => quantity(mean_s, "s") + (interval_s ? ` (${interval_s.map((end) => quantity(Math.max(0, end), "s")).join(" to ")})` : "");

function figcaption(found) {
  return h("figcaption", null,
    h("span", null, s("svg", { width: 26, height: 12, "aria-hidden": "true" }, s("rect", { class: "box", x: 1, y: 2, width: 24, height: 8 })), "predicted interval and mean"),
    h("span", null, s("svg", { width: 26, height: 12, "aria-hidden": "true" }, s("line", { class: "whisker", x1: 1, x2: 25, y1: 6, y2: 6 }), originMark(found.origin, 13, 6, 4)), `${found.origin} mean and its interval`));
}

// A row a plan: the predicted interval as a box, the measured mean as a dot with its own.
function intervals(found, width) {
  const rowHigh = 34, left = Math.min(180, width * 0.34), height = found.plans.length * rowHigh + 34;
  const ends = found.plans.flatMap((plan) => [plan.predicted, plan.measured].flatMap((one) => [one.mean_s, ...(one.interval_s || [])])).filter((value) => value > 0);
  const view = bounds(ends, 8);
  const X = scale(view.low, view.high, left, width - 16, view.log);
  const at = (value) => X(Math.max(view.low, value));
  const label = found.plans.map((plan) => `${plan.name}: predicted ${withEnds(plan.predicted)}, ${found.origin} ${withEnds(plan.measured)}`).join("; ");
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  let taken = -Infinity;
  for (const tick of X.ticks) {
    const text = rounded(tick, "s", X.digits), middle = inside(X(tick), text, width);
    svg.append(s("line", { class: "grid", x1: X(tick), x2: X(tick), y1: 4, y2: height - 28 }));
    if (middle - 3.4 * text.length < taken) continue;
    taken = middle + 3.4 * text.length + 8;
    svg.append(s("text", { class: "soft", x: middle, y: height - 12, "text-anchor": "middle" }, text));
  }
  found.plans.forEach((plan, row) => {
    const y = 20 + row * rowHigh, most = Math.floor((left - 8) / 6.6);
    svg.append(s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, shortened(`${plan.letter} ${plan.name}`.trim(), most)));
    const [low, high] = (plan.predicted.interval_s || [plan.predicted.mean_s, plan.predicted.mean_s]).map(at);
    svg.append(s("rect", { class: "box", x: low, y: y - 9, width: Math.max(1, high - low), height: 18 }),
      s("line", { class: "whisker", x1: at(plan.predicted.mean_s), x2: at(plan.predicted.mean_s), y1: y - 9, y2: y + 9 }));
    const x = at(plan.measured.mean_s);
    if (plan.measured.interval_s) {
      const [from, to] = plan.measured.interval_s.map(at);
      svg.append(s("line", { class: "whisker picked", x1: from, x2: to, y1: y, y2: y }));
    }
    svg.append(originMark(found.origin, x, y, 5));
  });
  return svg;
}

// Time by stage, predicted above measured, to one scale.
function strips(plan, origin) {
  if (!plan.stages.length) return noted("Stages overlap in a pipeline; verification.parquet has each request's.");
  const total = (which) => plan.stages.reduce((sum, part) => sum + Math.max(0, part[which].mean_s), 0);
  const longest = Math.max(total("predicted"), total("measured"));
  const name = (part) => `${SAID[part.cause]}${part.what ? ` ${part.what}` : ""} ${part.target ? `${part.device} to ${part.target}` : `on ${part.device}`}`;
  const tintOf = (part) => part.cause === "crossing" ? "sent" : tint(part.device);
  const bar = (which) => h("div", { class: "bar" }, plan.stages.map((part) => {
    const value = Math.max(0, part[which].mean_s);
    if (!value) return null;
    const from = which === "predicted" ? part.predicted.origin : part.cause === "crossing" ? origin : "measured";
    return h("i", { class: `fill ${tintOf(part)} ${from}`, title: `${name(part)}: ${quantity(value, "s")}`, style: { flex: `${value / longest} 1 0` } });
  }), h("i", { style: { flex: `${1 - total(which) / longest} 1 0`, minWidth: "0" } }));
  return h("div", null,
    h("div", { class: "shares" }, h("span", null, "predicted"), bar("predicted"), h("span", null, origin), bar("measured")),
    table([["stage"], ["predicted", "num"], ["measured", "num"], ["of the time", "num"]], plan.stages.filter((part) => part.predicted.mean_s || part.measured.mean_s > 0.002 * plan.measured.mean_s).map((part) => [
      part.back_to_back ? h("td", null, name(part), h("div", { class: "note" }, `back to back meanwhile: ${withEnds(part.back_to_back)}`)) : name(part), num(withEnds(part.predicted)), num(withEnds(part.measured)),
      num(`${(100 * (part.measured.mean_s - part.predicted.mean_s) / plan.measured.mean_s).toFixed(1)} %`)])),
    noted("Of the time: what a stage took more than predicted, as a part of the measured whole."));
}
