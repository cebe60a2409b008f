"""A board's /sys that answers as the kernel does: ``python3 sysfs.py BOARD MOUNTPOINT`` serves it through FUSE.

As in kernel 4.9: writing min > max or max < min is refused with EINVAL, a value between two steps takes the step
below, an unknown governor is refused, the current clock follows the limits, and a read-only file stays so.
"""

import errno
import stat
import sys
import time

GPU_HZ = [76800000 * step for step in range(1, 13)]
CPU_KHZ = {
    "nano": [102000, 204000, 307200, 403200, 518400, 614400, 710400, 825600, 921600, 1036800, 1132800, 1224000, 1326000,
             1428000, 1479000],
    "potato": [100000, 250000, 500000, 667000, 1000000, 1200000, 1512000],
}  # fmt: skip
MODEL = {"nano": "NVIDIA Jetson Nano Developer Kit\0", "potato": "Libre Computer AML-S905X-CC\0"}


class Clock:
    """One clock with its steps and limits; its files are methods' results."""

    def __init__(self, steps, governors):
        self.steps, self.governors = steps, governors
        self.low, self.high, self.governor = steps[0], steps[-1], governors[0]

    def current(self):
        return self.low if self.governor == "powersave" else self.high

    def limit(self, which, text):
        value = self.snap(text)
        if (which == "low" and value > self.high) or (which == "high" and value < self.low):
            raise OSError(errno.EINVAL, "limits cross")
        setattr(self, which, value)

    def snap(self, text):
        try:
            wanted = int(text)
        except ValueError:
            raise OSError(errno.EINVAL, "not a number") from None
        return max([step for step in self.steps if step <= wanted], default=self.steps[0])

    def choose(self, text):
        if text not in self.governors:
            raise OSError(errno.EINVAL, "no such governor")
        self.governor = text


def tree(board):
    """Files by path: a function that reads, and one that takes what is written or None."""
    files = {"firmware/devicetree/base/model": (lambda: MODEL[board], None)}

    def constant(path, text):
        files[path] = (lambda: f"{text}\n", None)

    def clock(folder, clock, names, first, others):
        low, high, current, steps, governor, governors = names
        mine = f"{folder}/{first}/"
        files[mine + low] = (lambda: f"{clock.low}\n", lambda text: clock.limit("low", text))
        files[mine + high] = (lambda: f"{clock.high}\n", lambda text: clock.limit("high", text))
        files[mine + current] = (lambda: f"{clock.current()}\n", None)
        files[mine + governor] = (lambda: f"{clock.governor}\n", clock.choose)
        constant(mine + steps, " ".join(map(str, clock.steps)))
        constant(mine + governors, " ".join(clock.governors))
        for other in others:
            for name in names:
                files[f"{folder}/{other}/{name}"] = files[mine + name]

    cpu = Clock(CPU_KHZ[board], ["schedutil", "ondemand", "userspace", "powersave", "performance"])
    names = [f"scaling_{n}" for n in ("min_freq", "max_freq", "cur_freq", "available_frequencies", "governor",
                                      "available_governors")]  # fmt: skip
    clock(
        "devices/system/cpu",
        cpu,
        names,
        "cpu0/cpufreq",
        ["cpu1/cpufreq", "cpu2/cpufreq", "cpu3/cpufreq", "cpufreq/policy0"],
    )
    for name in ("online", "possible", "present"):
        constant(f"devices/system/cpu/{name}", "0-3")
    online = {}
    for number in range(1, 4):
        online[number] = "1"
        files[f"devices/system/cpu/cpu{number}/online"] = (
            lambda number=number: online[number] + "\n",
            lambda text, number=number: online.__setitem__(number, text),
        )
    for zone, (kind, celsius) in enumerate((("CPU-therm", 41), ("GPU-therm", 39.5))):
        for folder in ("class/thermal", "devices/virtual/thermal"):
            constant(f"{folder}/thermal_zone{zone}/type", kind)
            constant(f"{folder}/thermal_zone{zone}/temp", int(celsius * 1000))
    if board == "nano":
        gpu = Clock(GPU_HZ, ["nvhost_podgov", "userspace", "performance", "powersave", "simple_ondemand"])
        names = ("min_freq", "max_freq", "cur_freq", "available_frequencies", "governor", "available_governors")
        for folder in ("devices/57000000.gpu/devfreq", "devices/gpu.0/devfreq", "class/devfreq"):
            clock(folder, gpu, names, "57000000.gpu", [])
        gate = {"value": "1"}
        for folder in ("devices/57000000.gpu", "devices/gpu.0"):
            files[f"{folder}/railgate_enable"] = (
                lambda: gate["value"] + "\n",
                lambda text: gate.__setitem__("value", text),
            )
            constant(f"{folder}/load", 0)
    return files


def main(board, mountpoint):
    import fusepy as fuse

    files = tree(board)
    folders = {""}
    for path in files:
        parts = path.split("/")[:-1]
        folders |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
    folders |= {"fs", "fs/cgroup", "kernel", "kernel/debug"}
    started = time.time()

    class Sys(fuse.Operations):
        use_ns = False

        def getattr(self, path, fh=None):
            name = path.strip("/")
            if name in folders:
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2, "st_mtime": started}
            if name not in files:
                raise fuse.FuseOSError(errno.ENOENT)
            mode = 0o644 if files[name][1] else 0o444
            return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": 4096, "st_mtime": started}

        def readdir(self, path, fh):
            prefix = path.strip("/")
            prefix += "/" if prefix else ""
            inside = {name[len(prefix) :].split("/")[0] for name in [*files, *folders] if name.startswith(prefix)}
            return [".", "..", *sorted(filter(None, inside))]

        def open(self, path, flags):
            return 0

        def truncate(self, path, length, fh=None):
            return 0

        def read(self, path, size, offset, fh):
            return files[path.strip("/")][0]().encode()[offset : offset + size]

        def write(self, path, data, offset, fh):
            take = files[path.strip("/")][1]
            if take is None:
                raise fuse.FuseOSError(errno.EACCES)
            try:
                take(data.decode().strip())
            except OSError as error:
                raise fuse.FuseOSError(error.errno) from None
            return len(data)

    fuse.FUSE(Sys(), mountpoint, foreground=True, allow_other=True, direct_io=True, nothreads=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
