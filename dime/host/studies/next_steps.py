"""What to type next in a folder, by the results that stand in it."""

from __future__ import annotations

import shlex
from pathlib import Path

from dime.contract.errors import DimeError
from dime.contract.run import REPORT, RUN, RunSpec
from dime.host.bench import lab

RESULTS = "results"
DEMO = f"{RESULTS}/demo"
VERIFIED = "verified"  # in a study's folder: runs of its plans


def next_steps(folder: Path) -> list[str]:
    """Looks at a folder's results and lab file.

    Args:
        folder: The folder, which need not have either.

    Returns:
        Lines: what there is, then commands that go on from there, each with what it does.
    """
    found, steps = [], []
    try:
        devices = sorted(lab.load(file).devices) if (file := folder / lab.DEFAULT_FILE).exists() else []
    except DimeError as error:
        return [str(error), *_listed([("dime doctor", "tries the lab file again when it is mended")])]
    if devices:
        found.append(f"{lab.DEFAULT_FILE}: {', '.join(devices)}")
        steps.append(("dime doctor", "tries every part of the lab"))
    profiles = _profiles(folder / RESULTS)
    for net, states in profiles.items():
        complete = sorted(device for device, state in states.items() if state == "complete")
        found.append(f"{RESULTS}: profile of {net} on {', '.join(complete) or 'no device yet'}")
        steps += [
            (_command("profile", net=net, device=device), "goes on with the profile that is not finished")
            for device, state in sorted(states.items())
            if state != "complete"
        ]
        if len(complete) == 1:
            other = next((name for name in devices if name not in complete), "local")
            steps.append((_command("profile", net=net, device=other), "a plan needs a second device"))
        plans = sorted(path.parent for path in (folder / RESULTS / "plans" / net).glob(f"*/{REPORT}"))
        if plans:
            newest = plans[-1].relative_to(folder)
            found.append(f"{newest}: the newest plan of {net}; open {newest / REPORT}")
            if not list(plans[-1].glob(f"{VERIFIED}/*")):
                steps.append(
                    (_command("verify", plans=str(newest)), "runs its plans, and says whether the prediction holds")
                )
            steps.append((f"{_command('report', plans=str(newest))} --figures", "its figures for a paper"))
        if len(complete) > 1:
            edge, server = _roles(complete)
            goal = {"goal": "energy"} if plans else {}
            roles = {} if (edge, server) == ("edge", "server") else {"edge": edge, "server": server}
            what = "the plan for another goal" if plans else "the best plan for each link"
            steps.append((_command("solve", net=net, **roles, **goal), what))
    if not profiles:
        demos = sorted((folder / DEMO / "plans").glob(f"*/*/{REPORT}"))
        if demos:
            found.append(f"{demos[-1].relative_to(folder)}: the demo's report; open it in a browser")
        else:
            steps.append(("dime demo", "profiles a network on this machine and plans it: two minutes"))
        device = devices[0] if devices else "local"
        steps.append((_command("profile", net="alexnet", device=device), "times every bundle of a network on a device"))
    steps.append(("dime --help", "all commands"))
    return [*(found or ["there is no profile in this folder yet"]), "next:", *_listed(steps)]


def _profiles(results: Path) -> dict[str, dict[str, str]]:
    """Network -> device -> the state of its run."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(results.glob(f"*/*/{RUN}")):
        try:
            state = RunSpec.read(str(path.parent)).state or "complete"
        except DimeError:
            state = "damaged"
        found.setdefault(path.parent.name, {})[path.parent.parent.name] = state
    return found


def _roles(devices: list[str]) -> tuple[str, str]:
    """Which of the devices is taken for the weak one, and which for the strong one."""
    server = next((name for name in devices if "server" in name), devices[-1])
    return next(name for name in devices if name != server), server


def _command(verb: str, **options: str) -> str:
    return shlex.join(["dime", verb, *(f"--{name}={value}" for name, value in options.items())])


def _listed(steps: list[tuple[str, str]]) -> list[str]:
    width = min(max(len(command) for command, _ in steps), 60)
    return [f"  {command:{width}}  # {what}" for command, what in steps]
