"use strict";
// The report's sections. Each is shown when its data are there.

const { batch } = data;

function header() {
  const weights = [...new Set(data.devices.map((device) => device.weights).filter(Boolean))];
  return h("header", null,
    h("h1", null, data.network, batch > 1 ? `, batch of ${batch}` : "", ": ", data.devices.map((device) => device.name).join(" → ")),
    h("div", { class: "subtitle" }, `Plans for least ${data.goal_name}; ${count(data.layers.length, "layer")}; weights: ${weights.join(" / ") || "not stated"}`
      + (data.arithmetic === "correct" ? "" : `; arithmetic: ${data.arithmetic}`)),
    h("div", { class: "devices" }, data.devices.map((device) => h("div", { class: `device ${tint(device.name)}` },
      h("b", null, device.name), ` ${device.is_edge ? "holds input and result" : "is reached over a link"}`,
      h("div", { class: "note" }, `${device.frequencies_hz.length > 1 ? count(device.frequencies_hz.length, "clock") : clock(device.frequencies_hz[0])}, `
        + `${count(device.runs, "run")} of ${count(device.bundles, "bundle")}; `,
        quiet(device.origin), ` time ${device.origin}, `,
        device.energy_origin ? [quiet(device.energy_origin), ` energy ${device.energy_origin}`] : "no energy"),
      device.energy_model ? h("div", { class: "note" }, `energy model: ${device.energy_model}`) : null,
      device.energy_gain ? h("div", { class: "note" }, `energies: ${device.energy_gain}`) : null))),
    legend(),
    data.warnings.map((warning) => h("p", { class: "note warning", role: "note" }, `Warning: ${warning}`)));
}

const MEANS = {
  measured: "this device, this run", replayed: "a recording of a measurement", emulated: "measured on something that stands in for the device or the link",
  modelled: "a formula: every transfer, a radio's energy, energy from a stated power",
};

// The marks that stand beside numbers, of the origins that there are.
function legend() {
  const there = new Set(["modelled", ...data.devices.flatMap((device) => [device.origin, device.energy_origin])]);
  if (data.verification) data.verification.links.forEach((one) => there.add(one.origin));
  return h("div", { class: "legend note" }, ORIGINS.filter((origin) => there.has(origin)).map((origin) =>
    h("span", null, quiet(origin), ` ${origin}: ${MEANS[origin]}`)));
}

// What to make of a report that has no sentence: one of before them.
function answerOf(link) {
  if (link.answer) return link.answer;
  const saved = link.baselines.filter((row) => row.name.startsWith("all on ") && row.gain > 0).map((row) => `${percent(row.gain)} less than ${row.name}`);
  return `${stepTexts(link.plan.steps)}: ${costs(timeOf(link.plan), link.plan.energy_j)}${saved.length ? `, ${saved.join(" and ")}` : ""}`;
}

// First of all one sentence for each link, with its certainty.
function answers(open) {
  const one = (link) => h("li", null,
    data.links.length > 1 && !paperWidth ? h("button", { type: "button", class: "to", click: () => open(link.name) }, link.name) : h("b", { class: "to" }, link.name),
    h("div", null, h("p", { class: "answer" }, (link.answer ? answerOf(link).replace(/; (not )?sure(: [^;]*)?$/, "") : answerOf(link)), ". ",
      link.is_sure === null ? null : h("span", { class: link.is_sure ? "yes" : "no" }, link.is_sure ? "✓ sure" : "! not sure: another plan may be as good"), " ",
      originMarks(link.plan.steps, link.plan.transfers.length)),
    strip(link.plan.steps, "small")));
  return h("section", { id: paperWidth ? null : "answer", class: "answers" }, headed(data.links.length > 1 ? "What each link changes" : "The answer"),
    h("ul", null, data.links.map(one)),
    data.without_plan.map((link) => h("p", { class: "note warning", role: "note" }, h("b", null, link.name), `: no plan, because ${link.reason}`)),
    h("p", { class: "note" }, `Percentages are of the ${data.goal_name} of what is named after them.`));
}

function overview() {
  const best = (link, name) => link.baselines.find((row) => row.name === name);
  const others = [...data.devices.map((device) => `all on ${device.name}`), "best single cut"]
    .filter((name) => data.links.some((link) => best(link, name)));
  return section("Every link at a glance", `Percentages: how much less ${data.goal_name} the plan takes than the way of placing the network that the column names.`,
    table([["link"], ["plan"], [timeName, "num"], ...(data.has_energy ? [["energy", "num"]] : []), ...others.map((name) => [name, "num"]), ["origin"]],
      data.links.map((link) => [
        h("td", null, h("b", null, link.name)),
        h("td", { "data-csv": stepTexts(link.plan.steps) }, strip(link.plan.steps, "small")),
        num(quantity(timeOf(link.plan), "s")),
        ...(data.has_energy ? [num(quantity(link.plan.energy_j, "J"))] : []),
        ...others.map((name) => num(best(link, name) ? (best(link, name).reason ? "breaks a limit" : share(best(link, name).gain)) : "–")),
        h("td", null, originMarks(link.plan.steps, link.plan.transfers.length)),
      ])));
}

function planSection(link) {
  const plan = link.plan;
  const proven = link.certificate.status === "optimal", confirmed = link.certificate.confirmed_by !== "";
  return section("The plan", null,
    h("div", { class: "facts" },
      fact(quantity(plan.latency_s, "s"), "latency"),
      fact(quantity(plan.computation_s, "s"), "computation"),
      fact(quantity(plan.communication_s, "s"), "communication"),
      data.goal === "throughput" ? fact(quantity(plan.period_s, "s"), "slowest stage") : null,
      (plan.over_trace || []).map(({ share, latency_s: time }) => fact(quantity(time, "s"), `at most, in ${percent(share)} of the trace's time`)),
      plan.energy_j === null ? null : fact(quantity(plan.energy_j, "J"), "energy"),
      plan.energy_j === null ? null : fact(quantity(plan.radio_j, "J"), "of it radio"),
      batch > 1 ? fact(quantity(plan.latency_s / batch, "s"), "latency a picture") : null,
      batch > 1 && plan.energy_j !== null ? fact(quantity(plan.energy_j / batch, "J"), "energy a picture") : null),
    originMarks(plan.steps, plan.transfers.length),
    h("div", { class: "proof" }, h("span", { class: proven ? "yes" : "no" }, (proven ? "✓ " : "! ") + link.proof),
      link.confirmation ? h("span", { class: confirmed ? "yes" : "no" }, (confirmed ? "✓ " : "! ") + link.confirmation) : null),
    responsive((width) => strip(plan.steps, "", width)),
    responsive((width) => shares(plan, width)),
    way(link), termsOf(plan), encodedOf(link));
}

// What a plan costs beside computing and sending, and what is in no sum.
function termsOf(plan) {
  const notes = (plan.without || []).map((one) => typeof one === "string" ? one : `${one.name}${one.of ? ` of ${one.of}` : ""}: ${one.reason}`);
  return [
    plan.terms.length ? [h("h3", null, "Beside computing and sending"), table([["term"], ["time", "num"], ["energy", "num"], ["from"]],
      plan.terms.map((term) => [term.name, num(quantity(term.latency_s, "s")), num(quantity(term.energy_j, "J")), h("td", null, h("span", null, quiet(term.origin), ` ${term.source}`))]))] : null,
    notes.length ? h("p", { class: "note" }, `In no sum: ${notes.join("; ")}.`) : null];
}

// How tensors are sent, and what sending the input in another way would give.
const effectOf = ({ same_class: same, distance, images }) => [
  same === null ? null : `first class the same in ${Math.round(same * images)} of ${images}`,
  distance === null ? null : `result off by ${percent(distance)} of it`].filter(Boolean).join(", ") || "not known";

function encodedOf(link) {
  return [
    link.plan.encoded.length ? [h("h3", null, "Sent encoded"), table([["tensor"], ["as"], ["bytes", "num"], ["instead of", "num"], ["effect on the result"]],
      link.plan.encoded.map((one) => [tensorAt(one.boundary), h("td", null, h("span", null, quiet(one.origin), ` ${one.encoding}`)),
        num(quantity(one.size_bytes, "B")), num(quantity(one.plain_bytes, "B")), effectOf(one)]))] : null,
    link.other_inputs.length ? [h("h3", null, "The input sent in another way"), table([["as"], ["bytes", "num"], [`best ${data.goal_name}`, "num"], ["effect on the result"]],
      link.other_inputs.map((one) => [one.encoding, num(quantity(one.size_bytes, "B")), num(quantity(one.value, data.goal_unit)), effectOf(one)]))] : null];
}

// A tensor that may cross, in words.
const tensorAt = (boundary) => boundary === 0 ? "input" : boundary === data.layers.length ? "result" : `output of ${data.layers[boundary - 1]}`;

// A plan's steps and transfers, as they come one after the other: {step} or {sent}.
function inOrder(plan) {
  const sentAt = (boundary) => plan.transfers.filter((sent) => sent.boundary === boundary).map((sent) => ({ sent }));
  return [...plan.steps.flatMap((step) => [...sentAt(step.first), { step }]), ...sentAt(data.layers.length)];
}

// Names of a time's and of an energy's fields: of a step or transfer, of a plan, of what a method believes, of a device.
const FIELDS = {
  time: { unit: "s", cost: "latency_s", sent: "communication_s", believed: "believed_latency_s", origin: "origin" },
  energy: { unit: "J", cost: "energy_j", sent: "radio_j", believed: "believed_energy_j", origin: "energy_origin" },
};

function shares(plan, width) {
  const parts = inOrder(plan);
  const bar = (what) => {
    const { unit, cost, origin: itsOrigin } = FIELDS[what];
    const total = plan[cost];
    const cells = parts.map(({ step, sent }) => {
      const value = (sent || step)[cost];
      if (!value) return null;
      const origin = sent ? "modelled" : devices.get(step.device)[itsOrigin];
      const name = sent ? `${sent.source} to ${sent.target}` : `${bundleName(step)} on ${step.device}`;
      const text = quantity(value, unit);
      const label = value / total * (width - 70) > 7 * text.length + 4 ? text : "";
      return h("i", { class: `fill ${sent ? "sent" : tint(step.device)} ${origin}`, title: `${name}: ${quantity(value, unit)}`, style: { flex: `${value / total} 1 0` } }, label);
    });
    return [h("span", null, what), h("div", { class: "bar" }, cells)];
  };
  return h("div", { class: "shares" }, bar("time"), plan.energy_j ? bar("energy") : null);
}

function way(link) {
  const crossing = ({ boundary, source, target, size_bytes: size, latency_s: time, energy_j: energy }) => {
    return h("li", { class: "crossing" }, h("span", { class: "mark fill sent modelled" }),
      h("span", null, `${tensorAt(boundary)}, ${quantity(size, "B")}: ${source} → ${target}`),
      h("div", { class: "badges" }, quiet("modelled", "time and energy")),
      h("span", { class: "cost num" }, costs(time, energy)));
  };
  const running = (step) => {
    const { origin, energy_origin: energyOrigin } = devices.get(step.device);
    const origins = [quiet(origin, "time")];
    if (data.has_energy && energyOrigin) origins.push(quiet(energyOrigin, "energy"));
    return h("li", null, h("span", { class: `mark fill ${tint(step.device)} ${origin}` }),
      h("span", null, h("b", null, bundleName(step)), " ", h("small", null, `${count(step.last - step.first + 1, "layer")} on ${step.device}, ${clock(step.frequency_hz)}`)),
      h("div", { class: "badges" }, origins),
      h("span", { class: "cost num" }, costs(step.latency_s, step.energy_j)));
  };
  return h("ol", { class: "way" }, inOrder(link.plan).map(({ step, sent }) => sent ? crossing(sent) : running(step)));
}

// Ways that come to the same plan stand in one row, as in the terminal.
function foldedRows(link) {
  const found = [];
  for (const row of link.baselines) {
    const same = row.plan && !row.reason && found.find((other) => other.plan && !other.reason && sameSteps(other.plan.steps, row.plan.steps));
    if (same) same.same.push(row);
    else found.push({ ...row, same: [] });
  }
  return found;
}

function baselineSection(link) {
  const rows = foldedRows(link);
  if (!rows.length) return null;
  const bar = (row, what) => {
    const { unit, cost } = FIELDS[what];
    const total = row.plan[cost], believed = row[FIELDS[what].believed];
    const own = link.plan[cost];
    const feasible = rows.filter((other) => other.plan).map((other) => other.plan[cost]);
    const most = Math.min(Math.max(...feasible), own > 0 ? 4 * own : Infinity);
    const per = rowParts(row.plan, what);
    const clipped = total > most * 1.001;
    const shownParts = clipped ? clip(per, most) : per;
    const sum = shownParts.reduce((part, { value }) => part + value, 0);
    const cells = shownParts.map(({ kind, value }) => h("i", { class: kind, style: { flex: `${value / sum} 1 0` } }));
    return h("div", { class: "bar", title: `${what}: ${quantity(total, unit)}` },
      h("div", { style: { display: "flex", gap: "1px", width: `${(clipped ? 94 : 94 * total / most) || 0}%` } }, cells),
      clipped ? h("span", { class: "cut" }, "…") : null,
      !row.is_chosen && believed > 0 && believed <= most && Math.abs(believed - total) > 0.005 * total
        ? h("span", { class: "believed", title: `believed: ${quantity(believed, unit)}`, style: { left: `${94 * believed / most}%` } }) : null);
  };
  const energetic = (row) => row.plan.energy_j !== null;
  const marks = rows.some((row) => !row.is_chosen && row.plan && Math.abs(row.believed_latency_s - row.plan.latency_s) > 0.005 * row.plan.latency_s);
  return section("Against other ways to place the network",
    (data.has_energy ? `What each plan really costs, by the bundles it runs: latency above, energy below${data.goal === "throughput" ? "; the slowest stage as a number" : ""}.` : "What each plan really takes, by the bundles it runs.") + " Computation in the device's colour, transfers grey; a bar that ends in … goes on."
    + (marks ? " The black tick is what the method itself believes." : ""),
    h("div", { class: "rows" }, rows.map((row) => [
      h("div", { class: row.reason ? "who infeasible" : "who" }, h("span", { class: row.is_chosen ? "letter ours" : "letter" }, row.letter),
        h("span", null, row.name, h("small", null, row.is_chosen ? "this plan" : row.source),
          row.same.length ? h("small", null, `the same plan: ${row.same.map((other) => `${other.letter} ${other.name}`).join(", ")}`) : null)),
      h("div", { class: row.reason ? "bars infeasible" : "bars" }, row.plan ? [bar(row, "time"), energetic(row) ? bar(row, "energy") : null] : null,
        row.reason ? h("small", null, row.reason) : null),
      h("div", { class: "figures" }, row.plan ? [h("div", { class: "num" }, quantity(timeOf(row.plan), "s")), energetic(row) ? h("div", { class: "num" }, quantity(row.plan.energy_j, "J")) : null] : "–",
        !row.is_chosen && !row.reason ? h("div", { class: "note" }, row.gain > 0.0005 ? `DIME: ${share(row.gain)} less ${data.goal_name}` : `the same ${data.goal_name}`) : null),
    ])));
}

function rowParts(plan, what) {
  const { cost, sent, origin } = FIELDS[what];
  const parts = data.devices.map((device) => ({
    kind: `fill ${tint(device.name)} ${device[origin] || ""}`,
    value: plan.steps.reduce((sum, step) => sum + (step.device === device.name ? step[cost] || 0 : 0), 0),
  }));
  parts.push({ kind: "fill sent modelled", value: plan[sent] });
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

const WHAT = { "any step": "second best plan", placement: "best with another placement" };

function explanationSection(link) {
  const found = link.explanation;
  if (!found || !(found.rivals.length + found.slacks.length)) return null;
  const same = (one, other) => JSON.stringify(one.steps) === JSON.stringify(other.steps);
  const rivals = found.rivals.filter((rival, at) => found.rivals.findIndex((other) => same(rival, other)) === at);
  const sure = (rival) => rival.interval === null ? null : h("div", { class: rival.interval.low > 0 ? "note yes" : "note no" },
    `${rival.interval.low > 0 ? "✓ sure" : "! within what the measurements leave open"}: ${percent(found.confidence)} interval ${between(rival.interval, data.goal_unit)}`);
  return section("Why this plan", null,
    rivals.length ? table([["next to it"], ["plan"], ["worse by"]], rivals.map((rival) => [
      WHAT[rival.what] || rival.what, planCell(rival.steps),
      h("td", null, h("div", null, h("div", null, rival.margin ? `${quantity(rival.margin, data.goal_unit)}${rival.share === null ? "" : ` (${percent(rival.share)} of this plan's ${data.goal_name})`}` : "nothing: it is as good"),
        rival.margin ? sure(rival) : null))])) : null,
    found.slacks.length ? [h("h3", null, "Limits"),
      table([["limit"], ["allowed", "num"], ["used", "num"], ["left", "num"], [`${data.goal_name} without it`, "num"]], found.slacks.map((slack) => [
        slack.limit, ...[slack.most, slack.used, slack.slack].map((amount) => num(amountOf(amount, slack.unit))),
        num(slack.price === null ? "–" : slack.price > 0 ? `${quantity(slack.price, data.goal_unit)} less` : "the same")]))] : null);
}

const amountOf = (amount, unit) => unit === "bytes" ? quantity(amount, "B") : ["s", "J"].includes(unit) ? quantity(amount, unit) : count(amount, unit.replace(/s$/, ""));

function heldSection(link) {
  if (!link.held.length) return null;
  return section("Limits that hold with a probability", "The plan is the best of those whose single runs keep the limits so often, not only their means. By the model: each run is held against what the other passes tell of its bundle, so that the noise's own shape and few runs are in the bound; beside it, plans made of single runs drawn at random.",
    table([["limit"], ["allowed", "num"], ["mean", "num"], ["standard deviation", "num"], ["holds by the model", "num"], ["holds in drawn runs", "num"]], link.held.map((held) =>
      [held.name, ...[held.limit, held.mean, held.sd].map((value) => num(quantity(value, held.unit))), ...[held.share, held.drawn_share].map((part) => num(percent(part)))])));
}

function notesSection(link) {
  return link.notes.length ? section("What is missing", null, link.notes.map((note) => h("p", { class: "note" }, note))) : null;
}

function certaintySection(link) {
  const found = link.certainty;
  if (!found) return null;
  const winners = (list) => table([["plan"], ["share of the draws", "num"]], list.map((winner) => [planCell(winner.steps), num(percent(winner.share))]));
  const others = count(found.winners.length - 3 + found.other_winners, "more plan");
  const best = [
    fact(percent(found.best_share), "of the draws: no plan is better"),
    found.regret === null ? null : fact(quantity(found.regret, data.goal_unit), "behind the best one, on average"),
    found.regret_high === null ? null : fact(quantity(found.regret_high, data.goal_unit), `behind it at most, in ${percent((1 + found.confidence) / 2)}`)];
  return section("How sure this is", `Intervals are Student's t of the passes, the plan's own with its upper end raised by what the best of many looks better than it is; shares come from ${found.replicates} draws of the means as they may truly be. A link that was measured varies as its passes do; other transfers are modelled and do not vary.`,
    h("div", { class: "facts" },
      // A plan whose limits hold with a probability is not meant to be the best by its means.
      link.held.length || !found.replicates ? null : best,
      found.kept_share < 1 ? fact(percent(found.kept_share), "of the draws: it keeps the limits") : null,
      found.infeasible_share > 0 ? fact(percent(found.infeasible_share), "of the draws: no plan keeps the limits") : null),
    h("p", null, `${percent(found.confidence)} interval of the latency ${between(found.latency_s, "s")}`, found.energy_j ? `, of the energy ${between(found.energy_j, "J")}` : "",
      ["latency", "energy"].includes(data.goal) ? "." : found.value ? `, of the ${data.goal_name} ${between(found.value, data.goal_unit)}.` : "."),
    found.notes.map((note) => h("p", { class: "note" }, note)),
    found.winners.length > 1 && !link.held.length ? [h("h3", null, "Plans that are the best at times"), winners(found.winners.slice(0, 3)),
      found.winners.length > 3 ? h("details", null, h("summary", null, others), winners(found.winners.slice(3)),
        found.other_winners ? h("p", { class: "note" }, `and ${count(found.other_winners, "rarer one")}`) : null) : null] : null,
    link.held.length ? null : [h("h3", null, "Worth measuring again"), found.measure_next.length ? table([["bundle"], ["device"], ["clock", "num"], ["chance to change the plan", "num"], ["expected gain", "num"]], found.measure_next.map((cell) =>
      [cell.bundle, cell.device, num(cell.frequency_hz < 0 ? "left alone" : clock(cell.frequency_hz)), num(percent(cell.chance)), num(quantity(cell.gain, data.goal_unit))]))
      : h("p", { class: "note" }, "No single bundle, measured again, would change the plan.")]);
}

function sourcesSection() {
  return section("Where the numbers come from", null,
    ORIGINS.map((origin) => h("p", { class: "note" }, quiet(origin), ` ${origin}: ${MEANS[origin]}`)),
    h("p", { class: "note" }, data.arithmetic === "published" ? "Times are means without the lowest and highest 10 % of all runs, energies plain means, as the published code has them."
      : "Times are those of typical runs: means over the passes of each one's runs without the lowest and highest 20 %. Energies are plain means. Limits that hold with a probability are about single runs."),
    h("h3", null, "Links"),
    table([["link"], ["from – to"], ["up", "num"], ["down", "num"], ["round trip", "num"], ["source"]], data.links.flatMap((link) => link.rates.map((rate) => [
      link.name, `${rate.from_device} – ${rate.to_device}`, num(quantity(rate.upload_bit_s, "bit/s")), num(quantity(rate.download_bit_s, "bit/s")), num(quantity(rate.round_trip_s, "s")), rate.source]))),
    h("h3", null, "Runs"),
    data.sources.map((source) => h("details", null, h("summary", null, source.device),
      h("dl", { class: "run" }, h("dt", null, "table"), h("dd", null, h("code", null, source.path)),
        source.dialect ? [h("dt", null, "read with"), h("dd", null, source.dialect)] : null,
        source.facts.map(({ name, value }) => [h("dt", null, name), h("dd", null, h("code", null, value))])),
      source.facts.length ? null : h("p", { class: "note" }, "There is no run.json beside this table: how it came to be is not recorded."))),
    data.command ? [h("h3", null, "Command"), h("p", null, h("code", null, data.command))] : null,
    h("p", { class: "note" }, `DIME ${data.versions.dime}, Python ${data.versions.python}`));
}

// After the answer: the map beside the frontier, what if, why, how sure; the rest is folded.
function sectionsOf(link) {
  shownLink = link.name;
  const beside = [mapSection(link), frontierSection(link)].filter(Boolean);
  return [
    beside.length > 1 ? h("div", { class: "beside" }, beside) : beside[0], whatIfSection(link), explanationSection(link),
    certaintySection(link), heldSection(link), verifiedSection(link), notesSection(link),
    folded(planSection(link)), folded(baselineSection(link))].filter(Boolean);
}
const linkOverview = () => data.links.length > 1 ? overview() : null;

// The link that is open first: one that is split, or else has something to trade, with the largest gain.
function mostInteresting(links) {
  const alone = (link) => link.baselines.filter((row) => row.name.startsWith("all on ") && row.gain !== null).map((row) => row.gain);
  const split = (link) => new Set(link.plan.steps.map((step) => step.device)).size > 1 && alone(link).length ? Math.min(...alone(link)) : 0;
  const trade = (link) => link.frontier && link.frontier.count > 1 ? 1 - link.frontier.points.at(-1).energy_j / link.frontier.points[0].energy_j : 0;
  for (const gain of [split, trade]) {
    const best = links.reduce((one, other) => gain(other) > gain(one) ? other : one);
    if (gain(best) > 0) return best;
  }
  return links[0];
}

// On paper every link's sections stand one after the other, with all details open, drawn for A4 less margins and padding.
function printed() {
  const shown = shownLink;
  paperWidth = 660;
  const paper = h("div", { id: "paper" }, header(), answers(), linkOverview(),
    data.links.map((link) => [data.links.length > 1 ? h("h2", { class: "link" }, link.name) : null, sectionsOf(link)]), effectSection(), sourcesSection());
  paperWidth = 0;
  shownLink = shown;
  paper.querySelectorAll("details").forEach((node) => { node.open = true; });
  return paper;
}

function main() {
  const panel = h("div", { role: "tabpanel", id: "panel" });
  const contents = h("nav", { class: "contents", "aria-label": "contents" });
  const go = (link, at) => {
    location.hash = address(link, at);
    route();
  };
  const tabs = data.links.map((link, at) => h("button", {
    type: "button", role: "tab", "aria-controls": "panel", click: () => go(link.name),
    keydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (at + step + tabs.length) % tabs.length;
      go(data.links[next].name);
      tabs[next].focus();
    } }, link.name));
  const show = (at) => {
    const link = data.links[at];
    if (link.name === shownLink && panel.hasChildNodes()) return;
    panel.replaceChildren(...sectionsOf(link));
    tabs.forEach((tab, k) => {
      tab.setAttribute("aria-selected", String(k === at));
      tab.tabIndex = k === at ? 0 : -1;
    });
    document.querySelectorAll("#page > section .anchor").forEach((anchor) => { anchor.href = address(link.name, anchor.closest("section").id); });
    contents.replaceChildren(...[...document.querySelectorAll("#page section[id]")].map((node) =>
      h("a", { href: address(link.name, node.id) }, node.querySelector("h2").firstChild.textContent)));
  };
  // #link=WiFi&at=why-this-plan: what is open, and what is looked at; the browser's buttons go back and forth.
  const route = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const at = data.links.findIndex((link) => link.name === asked.get("link"));
    show(at < 0 ? data.links.indexOf(mostInteresting(data.links)) : at);
    const target = asked.get("at") && document.getElementById(asked.get("at"));
    if (!target) return;
    target.querySelectorAll(":scope > details").forEach((node) => { node.open = true; });
    requestAnimationFrame(() => requestAnimationFrame(() => target.scrollIntoView({ block: "start" })));
  };
  const page = document.getElementById("page");
  page.append(...[header(), answers(go), contents,
    h("nav", { class: "tabs", role: "tablist", "aria-label": "links" }, tabs), panel, folded(linkOverview()), folded(effectSection()), folded(sourcesSection())].filter(Boolean));
  addEventListener("hashchange", route);
  route();
  addEventListener("beforeprint", () => document.body.append(printed()));
  addEventListener("afterprint", () => document.getElementById("paper")?.remove());
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.ready = "true"; }));
}

main();
