"use strict";
// What if the link, the power while waiting, or the weight of energy were another: the shortest path, exactly.

// The arcs of a link's plans, by the node that they lead to; made once.
const arcsOf = (() => {
  const made = new Map();
  return (found) => {
    if (made.has(found.crossings)) return made.get(found.crossings);
    const steps = data.options.find((one) => one.number === found.options), ways = found.crossings;
    const rows = (columns, more) => columns.head.map((_, at) => ({
      ...Object.fromEntries(Object.entries(columns).filter(([, column]) => Array.isArray(column)).map(([name, column]) => [name, column[at]])), ...more }));
    const arcs = [...rows(steps, { air_s: 0, trips: 0, air_j: 0 }), ...rows(ways, { device: "", beyond_s: 0 })].sort((a, b) => a.head - b.head);
    made.set(found.crossings, arcs);
    return arcs;
  };
})();

const priced = (arc, asked) => {
  const time = arc.latency_s + arc.air_s * asked.slower + arc.trips * asked.trip_s;
  return { time, energy: arc.energy_j + arc.air_j * asked.slower + asked.waiting * arc.waits * (time + arc.beyond_s) };
};

// The best plan, {steps, latency_s, energy_j, value}, or null where none keeps the limits.
// asked: slower (multiple of the time on the air), trip_s, waiting (power), per_s, per_j. only(arc): which arcs may be taken.
function bestPlan(found, asked, only = () => true) {
  const most = [found.latency_limit_s ?? Infinity, found.energy_limit_j ?? Infinity];
  const limited = most.map(Number.isFinite);
  const at = Array.from({ length: found.nodes }, () => []);
  at[0].push({ value: 0, time: 0, energy: 0, arc: null, before: null });
  const beats = (a, b) => a.value <= b.value && (!limited[0] || a.time <= b.time) && (!limited[1] || a.energy <= b.energy);
  for (const arc of arcsOf(found)) {
    if (!at[arc.tail].length || !only(arc)) continue;
    const cost = priced(arc, asked), value = asked.per_s * cost.time + asked.per_j * cost.energy;
    for (const before of at[arc.tail]) {
      const label = { value: before.value + value, time: before.time + cost.time, energy: before.energy + cost.energy, arc, before };
      if (label.time > most[0] || label.energy > most[1] || at[arc.head].some((other) => beats(other, label))) continue;
      at[arc.head] = [...at[arc.head].filter((other) => !beats(label, other)), label];
    }
  }
  const best = at.at(-1).reduce((one, other) => one && one.value <= other.value ? one : other, null);
  if (!best) return null;
  const steps = [];
  for (let label = best; label.before; label = label.before) {
    const { device, first, last, frequency_hz } = label.arc;
    if (device) steps.unshift({ device, first, last, frequency_hz });
  }
  return { steps, latency_s: best.time, energy_j: data.has_energy ? best.energy : null, value: best.value };
}

const sameSteps = (one, other) => one.length === other.length && one.every((step, at) => ["device", "first", "last", "frequency_hz"].every((name) => step[name] === other[at][name]));

// What a plan would cost; null where it is not among the options that can be the best.
function costOf(found, asked, steps) {
  const is = (arc) => !arc.device || steps.some((step) => ["device", "first", "last", "frequency_hz"].every((name) => step[name] === arc[name]));
  const plan = bestPlan({ ...found, latency_limit_s: null, energy_limit_j: null }, asked, is);
  return plan && sameSteps(plan.steps, steps) ? plan : null;
}

// A slider: name, its range 0 to 1000, where it stands, the value there and how it is told.
function slider(name, at, valueOf, told, act) {
  const output = h("output", null, told(valueOf(at)));
  const input = h("input", { type: "range", min: 0, max: 1000, step: 1, value: at, "aria-valuetext": told(valueOf(at)), input: () => {
    const value = valueOf(Number(input.value));
    output.textContent = told(value);
    input.setAttribute("aria-valuetext", told(value));
    act(value);
  } });
  return { node: h("label", { class: "slider" }, h("span", null, name), output, input), value: () => valueOf(Number(input.value)), reset: () => { input.value = at; input.dispatchEvent(new Event("input")); } };
}

// Around `here`, which stands in the middle exactly: a factor of `span` to either side.
const around = (here, span) => (at) => at === 500 ? here : here * span ** ((at - 500) / 500);
// From 0 to four times `here`, or to `most`.
const upTo = (here, most) => {
  const end = here > 0 ? 4 * here : most;
  return { start: here > 0 ? 250 : 0, of: (at) => here > 0 && at === 250 ? here : end * at / 1000 };
};

function whatIfSection(link) {
  const found = link.what_if;
  if (paperWidth) return null;
  if (!found) return link.without_what_if ? section("What if?", `Nothing can be turned here: ${link.without_what_if}.`) : null;
  const asked = { slower: 1, trip_s: found.round_trip_s, waiting: found.waiting ?? 0, per_s: found.per_s, per_j: found.per_j };
  const first = { ...asked };
  const rate = link.rates.length === 1 ? link.rates[0].upload_bit_s : null;
  const result = h("div", { class: "result", "aria-live": "polite" });
  const draw = () => {
    const plan = bestPlan(found, asked);
    if (!plan) { result.replaceChildren(h("p", { class: "no" }, "No plan keeps the limits there.")); return; }
    const kept = costOf(found, asked, link.plan.steps), same = sameSteps(plan.steps, link.plan.steps);
    const better = kept ? 1 - plan.value / kept.value : null;
    const goal = asked.per_j === 0 ? "latency" : asked.per_s === 0 ? "energy" : "weighted sum";
    result.replaceChildren(
      h("div", { class: "facts" }, fact(quantity(plan.latency_s, "s"), "latency"), plan.energy_j === null ? null : fact(quantity(plan.energy_j, "J"), "energy"),
        h("div", { class: "verdict" }, h("b", { class: same ? "" : "changed" }, same ? "The same plan" : "Another plan"),
          h("span", null, same ? `as for ${link.name}` : better !== null && better > 1e-9 ? `${percent(better)} less ${goal} than the plan for ${link.name} would take there` : "as good as that one"))),
      ...drawnPlan(plan.steps));
  };
  const turn = (name) => (value) => { asked[name] = value; draw(); };
  const trips = upTo(found.round_trip_s, 0.2), powers = upTo(found.waiting || 0, 5);
  const ratio = found.per_s && found.per_j ? found.per_j / found.per_s : link.plan.energy_j ? link.plan.latency_s / link.plan.energy_j : 1;
  const weight = (at) => at <= 0 ? 0 : at >= 1000 ? Infinity : ratio * 1000 ** ((at - 500) / 500);
  const sliders = [
    slider(rate ? "upload rate, download in step" : "all rates", 500, around(1, 100), (times) => rate ? quantity(rate * times, "bit/s") : `${rounded(times, "")} times`, (times) => turn("slower")(1 / times)),
    slider("round trip", trips.start, trips.of, (value) => quantity(value, "s"), turn("trip_s")),
    found.waiting === null ? null : slider(`${edge}'s power while it waits`, powers.start, powers.of, (value) => found.waiting_unit ? quantity(value, "W") : `${rounded(value, "")} times as measured`, turn("waiting")),
    !data.has_energy ? null : slider("weight of energy", found.per_s === 0 ? 1000 : found.per_j === 0 ? 0 : 500, weight,
      (value) => value === 0 ? "only time counts" : value === Infinity ? "only energy counts" : `1 J is worth ${quantity(value, "s")}`,
      (value) => { asked.per_s = value === Infinity ? 0 : 1; asked.per_j = value === Infinity ? 1 : value; draw(); }),
  ].filter(Boolean);
  draw();
  return section("What if?", "Turn the link, or what counts: the best of all plans is found anew, exactly, as for the plan itself."
    + (found.latency_limit_s !== null || found.energy_limit_j !== null ? " The limits stay." : ""),
    h("div", { class: "sliders hint" }, sliders.map((one) => one.node)),
    result,
    h("button", { type: "button", class: "plain hint", click: () => { sliders.forEach((one) => one.reset()); Object.assign(asked, first); draw(); } }, `back to ${link.name}`));
}
