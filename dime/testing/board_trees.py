"""Trees of files in which every board finds what it needs, and a kernel that answers writes to them."""

import errno
import os
import threading

from dime.contract import files

GPU = "sys/devices/57000000.gpu/devfreq/57000000.gpu"
RAIL_GATE = "sys/devices/57000000.gpu/railgate_enable"
CPUS = ["sys/devices/system/cpu/cpu{}/cpufreq".format(number) for number in range(4)]
CGROUPS = "sys/fs/cgroup"
GROUP = CGROUPS + "/lab/run"
GPU_HZ = [76800000 * step for step in range(1, 13)]
CPU_KHZ = [100000, 250000, 500000, 667000, 1000000, 1200000, 1512000]


def put(root, path, text):
    full = os.path.join(str(root), path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w") as stream:
        stream.write(text)


def get(root, path):
    with open(os.path.join(str(root), path)) as stream:
        return stream.read().strip()


def plain(root):
    """A tree of plain files; as the current clock is a link to its upper limit, it follows without a kernel."""
    clock(root, GPU, "", GPU_HZ, ["nvhost_podgov", "performance"])
    put(root, RAIL_GATE, "1\n")
    clock(root, CPUS[0], "scaling_", CPU_KHZ, ["schedutil", "performance"])
    for other in CPUS[1:]:
        os.makedirs(os.path.dirname(os.path.join(str(root), other)))
        os.symlink("../cpu0/cpufreq", os.path.join(str(root), other))
    put(root, "sys/devices/system/cpu/online", "0-3\n")
    put(root, "sys/firmware/devicetree/base/model", "A board\0")
    put(root, "proc/meminfo", "MemTotal:        4059712 kB\nMemFree: 1 kB\n")
    zones = (("CPU-therm", "41500"), ("GPU-therm", "39000"), ("CPU-therm", "-1000"))
    for number, (kind, temperature) in enumerate(zones):
        put(root, "sys/class/thermal/thermal_zone{}/type".format(number), kind + "\n")
        put(root, "sys/class/thermal/thermal_zone{}/temp".format(number), temperature + "\n")
    for number, kind in enumerate(("pwm-fan", "gpu-balanced")):
        put(root, "sys/class/thermal/cooling_device{}/type".format(number), kind + "\n")
        put(root, "sys/class/thermal/cooling_device{}/cur_state".format(number), "0\n")
    cgroups(root)
    return root


def cgroups(root):
    """A cgroup of version 2 that this process is in, beside which another may be made."""
    put(root, "proc/self/cgroup", "0::/lab/run\n")
    put(root, "proc/self/mountinfo", "30 24 0:26 / /{} rw,nosuid - cgroup2 cgroup rw\n".format(CGROUPS))
    put(root, CGROUPS + "/lab/cgroup.subtree_control", "cpu memory\n")
    put(root, CGROUPS + "/lab/cgroup.procs", "\n")
    put(root, GROUP + "/cgroup.procs", "{}\n".format(os.getpid()))


def clock(root, folder, prefix, steps, governors):
    path = folder + "/" + prefix
    put(root, path + "available_frequencies", " ".join(map(str, reversed(steps))) + " \n")
    put(root, path + "available_governors", " ".join(governors) + "\n")
    put(root, path + "governor", governors[0] + "\n")
    put(root, path + "min_freq", str(steps[0]) + "\n")
    put(root, path + "max_freq", str(steps[-1]) + "\n")
    os.symlink(prefix + "max_freq", os.path.join(str(root), path + "cur_freq"))


def state(root):
    """Contents of all files by path."""
    found = {}
    for folder, _, names in os.walk(str(root)):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                found[os.path.relpath(path, str(root))] = get(root, path)
    return found


class Kernel(object):
    """Takes writes as kernel 4.9 does: limits must not cross, values between two steps take the lower one.

    Args:
        caught_hz: The current clock stays there, whatever the limits say; None for a clock that follows.
        ceiling: Highest value that an upper limit takes; None for no limit.
        refused: Path of a file that cannot be written.
        off: What is added to every limit and clock that is read back, in the kernel's unit.
        late_s: The current clock follows its limits so much later.
    """

    def __init__(self, caught_hz=None, ceiling=None, refused=None, off=0, late_s=0.0):
        self.late_s = late_s
        self.off = off
        self.caught_hz = caught_hz
        self.ceiling = ceiling
        self.refused = refused
        self.writes = []
        self._followers = {}

    def put(self, path, text):
        folder, name = os.path.split(path)
        self.writes.append((name, text))
        if self.refused and path.endswith(self.refused):
            raise OSError(errno.EROFS, "Read-only file system", path)
        if name == "cgroup.procs":
            self._leave(path.split(CGROUPS)[0], str(text))
        if name.endswith("governor"):
            if text not in get(folder, name.replace("governor", "available_governors")).split():
                raise OSError(errno.EINVAL, "Invalid argument", path)
        elif name.endswith("_freq"):
            text = str(self._limit(folder, name, int(text)) + self.off)
        with open(path, "w") as stream:
            stream.write(text + "\n")
        current = os.path.join(folder, name.replace("min_", "cur_").replace("max_", "cur_"))
        if self.late_s and name.endswith("max_freq"):
            self._follow_late(current, text)
        if self.caught_hz is not None and name.endswith("max_freq"):
            if os.path.islink(current):
                os.remove(current)
            with open(current, "w") as stream:
                stream.write("{}\n".format(self.caught_hz))

    def _leave(self, root, process):
        for folder, _, names in os.walk(os.path.join(root, CGROUPS)):
            if "cgroup.procs" in names and get(folder, "cgroup.procs") == process:
                put(folder, "cgroup.procs", "\n")

    def _follow_late(self, current, text):
        """The clock stays a plain file with the text that it had; a thread writes the newest one."""
        if os.path.islink(current):
            before = get(os.path.dirname(current), os.path.basename(current))
            os.remove(current)
            put(os.path.dirname(current), os.path.basename(current), before + "\n")

        if current in self._followers:
            self._followers[current].cancel()
            self._followers[current].join()
        thread = threading.Timer(self.late_s, files.replace, [current, (text + "\n").encode()])
        thread.daemon = True
        thread.start()
        self._followers[current] = thread

    def stop(self):
        """Ends what follows late; the clocks stay as they are."""
        for thread in self._followers.values():
            thread.cancel()
            thread.join()

    def _limit(self, folder, name, value):
        prefix = name[: name.index("m")]
        steps = [int(step) for step in get(folder, prefix + "available_frequencies").split()]
        value = max([step for step in steps if step <= value] or [min(steps)])
        if name.endswith("max_freq") and self.ceiling is not None:
            value = min(value, self.ceiling)
        low, high = (int(get(folder, prefix + limit)) - self.off for limit in ("min_freq", "max_freq"))
        if (name.endswith("min_freq") and value > high) or (name.endswith("max_freq") and value < low):
            raise OSError(errno.EINVAL, "Invalid argument", os.path.join(folder, name))
        return value
