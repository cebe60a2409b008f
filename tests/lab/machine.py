"""The lab's computer: packages, an engine of today, foreign binaries, base images and the registry that holds them."""

import hashlib
import json
import os
import shutil
import tarfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .place import (
    BRIDGE,
    BRIDGE_ADDRESS,
    ENGINE,
    HERE,
    HOME,
    REGISTRY,
    RUN,
    SOCKET,
    STATE,
    SUBNET,
    SYSTEM_PATH,
    LabError,
    alive,
    docker,
    run,
    say,
    spawn,
    stop,
    wait_for,
)

PACKAGES = (
    *("docker.io", "containerd", "runc", "iptables", "iproute2", "openssh-server", "openssh-client", "docker-registry"),
    *("qemu-user-static", "binfmt-support", "mmdebstrap", "arch-test", "e2fsprogs", "python3-fusepy"),
)
SUITE = "forky"  # the oldest suite with an engine, buildx and compose that build for two platforms at once
RUNTIME = Path("/usr/local/sbin/dime-lab-runc")
ENGINE_BRIDGE = "dime-engine"
BASE_PACKAGES = (
    "base-files,base-passwd,bash,coreutils,dash,libc-bin,libstdc++6,libgomp1,python3,python3-pip,python3-setuptools,"
    "python3-wheel,ca-certificates,procps,usr-is-merged"
)
BASE = f"lab/base:{hashlib.sha256(BASE_PACKAGES.encode()).hexdigest()[:12]}"
BASES = (BASE, "library/python:3.11-slim-bookworm")  # the second is what the Dockerfiles name, through the mirror
PLATFORMS = ("amd64", "arm64")


def missing() -> str:
    """Says why this machine cannot hold the lab; empty if it can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    if not shutil.which("apt-get"):
        return "the lab needs Debian's apt-get"
    if not os.path.ismount("/sys/fs/cgroup"):
        return "no cgroups are mounted"
    if not os.path.exists("/dev/fuse"):
        return "the kernel has no FUSE"
    return ""


def up() -> None:
    """Makes what is missing; the second call finds everything there."""
    for folder in (STATE, RUN, HOME / ".ssh", HOME / ".docker/cli-plugins"):
        folder.mkdir(parents=True, exist_ok=True)
    _packages()
    _engine_files()
    _foreign_binaries()
    _network()
    _engine()
    _registry()
    _bases()


def down(purge: bool = False) -> None:
    """Stops the engine and the registry; ``purge`` removes their files too."""
    if docker("version", check=False).returncode == 0:
        ids = docker("ps", "-aq", check=False).stdout.split()
        if ids:
            docker("rm", "-f", *ids, check=False)
    stop("registry", "docker-registry")
    stop("engine", str(STATE))
    for link in (ENGINE_BRIDGE, BRIDGE):
        run("ip", "link", "del", link, check=False)
    if purge:
        run("umount", "-l", STATE / "docker", check=False)
        shutil.rmtree(STATE, ignore_errors=True)
        RUNTIME.unlink(missing_ok=True)


def _packages() -> None:
    status = run("dpkg-query", "-W", "-f", "${Package} ${Status}\n", *PACKAGES, check=False).stdout
    absent = [name for name in PACKAGES if f"{name} install ok installed" not in status]
    if not absent:
        return
    say(f"installs {' '.join(absent)}")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:  # the packages' own daemons stay down
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *absent,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
    finally:
        if ours:
            policy.unlink()


def mirror() -> str:
    """The package mirror that this machine's own apt uses."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").stdout.split()
    found = next((line for line in lines if "-security" not in line), "")
    if not found:
        raise LabError("apt knows no mirror; run apt-get update")
    return found


def _engine_files() -> None:
    """Unpacks a newer engine aside; the machine's own packages stay as they are."""
    if not (ENGINE / "usr/sbin/dockerd").exists():
        say(f"fetches the engine of {SUITE}")
        apt = STATE / "apt"
        for folder in ("lists/partial", "archives/partial"):
            (apt / folder).mkdir(parents=True, exist_ok=True)
        keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (apt / "sources").write_text(f"deb [signed-by={keys}] {mirror()} {SUITE} main\n")
        (apt / "conf").write_text(
            f'Dir::State::Lists "{apt}/lists";\nDir::Etc::SourceList "{apt}/sources";\n'
            f'Dir::Etc::SourceParts "/dev/null";\nDir::Cache::Archives "{apt}/archives";\nAPT::Sandbox::User "root";\n'
        )
        private = {**os.environ, "APT_CONFIG": str(apt / "conf")}
        run("apt-get", "update", "-qq", env=private)
        names = ("docker.io", "docker-cli", "docker-buildx", "docker-compose")
        run("apt-get", "download", "-qq", *names, env=private, cwd=apt)
        for package in apt.glob("*.deb"):
            run("dpkg", "-x", package, ENGINE)
        shutil.rmtree(apt)
    for plugin in (ENGINE / "usr/libexec/docker/cli-plugins").glob("docker-*"):
        link = HOME / ".docker/cli-plugins" / plugin.name
        if not link.is_symlink():
            link.symlink_to(plugin)
    if not RUNTIME.exists() or RUNTIME.read_bytes() != (HERE / "runc.py").read_bytes():
        shutil.copyfile(HERE / "runc.py", RUNTIME)
        RUNTIME.chmod(0o755)


def _foreign_binaries() -> None:
    if not os.path.exists("/proc/sys/fs/binfmt_misc/register"):
        run("mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc")
    if not os.path.exists("/proc/sys/fs/binfmt_misc/qemu-aarch64"):
        run("update-binfmts", "--enable", "qemu-aarch64")


def bridge(name: str, address: str) -> None:
    """Makes a bridge with an address, if it is not there."""
    if run("ip", "link", "show", name, check=False).returncode:
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "addr", "add", address, "dev", name)
    run("ip", "link", "set", name, "up")


def _network() -> None:
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    bridge(BRIDGE, f"{BRIDGE_ADDRESS}/24")
    bridge(ENGINE_BRIDGE, "172.29.0.1/16")


def _engine() -> None:
    if docker("version", check=False).returncode == 0:
        return
    stop("engine", str(STATE))
    SOCKET.unlink(missing_ok=True)
    Path(STATE / "dockerd.pid").unlink(missing_ok=True)
    configuration = {
        "features": {"containerd-snapshotter": True},
        "insecure-registries": [SUBNET],
        "registry-mirrors": [f"http://{REGISTRY}"],
        "runtimes": {"lab": {"path": str(RUNTIME)}},
        "default-runtime": "lab",
    }
    (STATE / "daemon.json").write_text(json.dumps(configuration))
    spawn(
        "engine", ENGINE / "usr/sbin/dockerd", "--config-file", STATE / "daemon.json", "--data-root", STATE / "docker",
        "--exec-root", RUN / "exec", "--pidfile", STATE / "dockerd.pid", "--host", f"unix://{SOCKET}",
        "--bridge", ENGINE_BRIDGE, "--userland-proxy-path", ENGINE / "usr/sbin/docker-proxy",
        env={**os.environ, "PATH": f"{ENGINE / 'usr/sbin'}:{SYSTEM_PATH}"},
    )  # fmt: skip
    wait_for("the engine (see engine.log)", lambda: docker("version", check=False).returncode == 0)
    say(f"engine {docker('version', '-f', '{{.Server.Version}}').stdout.strip()} on {SOCKET}")


def _registry() -> None:
    if alive("registry", "docker-registry"):
        return
    (STATE / "registry.yml").write_text(
        "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {STATE / 'registry'}}}, delete: {{enabled: true}}}}\n"
        f'http: {{addr: "{REGISTRY}", secret: lab}}\n'
    )
    spawn("registry", "docker-registry", "serve", STATE / "registry.yml")
    wait_for("the registry", lambda: _registry_has("") is not None)


def _registry_has(path: str) -> object:
    """Asks the registry for a path; None if it does not answer or has no such thing."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{REGISTRY}/v2/{path}", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def _bases() -> None:
    """Base images for both platforms, made from Debian's packages without running any foreign code."""
    repository, _, tag = BASE.partition(":")
    known = _registry_has(f"{repository}/tags/list")
    if isinstance(known, dict) and tag in (known["tags"] or ()):
        return
    context = STATE / "base"
    context.mkdir(exist_ok=True)
    with ThreadPoolExecutor(len(PLATFORMS)) as pool:
        list(pool.map(lambda architecture: _root_file_system(architecture, context / f"{architecture}.tar"), PLATFORMS))
    (context / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETARCH\nADD ${TARGETARCH}.tar /\n"
        'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCMD ["/bin/sh"]\n'
    )
    names = [word for base in BASES for word in ("-t", f"{REGISTRY}/{base}")]
    platforms = ",".join(f"linux/{architecture}" for architecture in PLATFORMS)
    docker("buildx", "build", "-q", "--platform", platforms, "--provenance=false", "--push", *names, context)
    shutil.rmtree(context)
    say(f"base images for {platforms} in {REGISTRY}")


def _root_file_system(architecture: str, archive: Path) -> None:
    """Debian with Python, unpacked but not configured: it needs no more than an account, certificates and a shell."""
    root = archive.with_suffix("")
    shutil.rmtree(root, ignore_errors=True)
    run(
        "mmdebstrap", "--mode=root", "--variant=extract", f"--architectures={architecture}", "--skip=check/qemu",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"', "--include=" + BASE_PACKAGES,
        "bookworm", root, mirror(),
    )  # fmt: skip
    for name in ("passwd", "group"):
        shutil.copyfile(root / "usr/share/base-passwd" / f"{name}.master", root / "etc" / name)
    certificates = root / "etc/ssl/certs"
    certificates.mkdir(parents=True, exist_ok=True)
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", certificates / "ca-certificates.crt")
    (root / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nno-cache-dir = true\n")
    if not os.path.lexists(root / "bin/sh"):
        (root / "bin/sh").symlink_to("dash")
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    for name in ("python3", "pip"):
        (root / "usr/local/bin" / name.replace("3", "")).symlink_to(f"/usr/bin/{name}")
    for name in (
        "usr/share/man",
        "usr/share/doc",
        "usr/share/locale",
        "var/cache",
        "var/lib/apt",
        "dev",
        "proc",
        "sys",
    ):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    with tarfile.open(archive, "w") as output:
        output.add(root, ".")
    shutil.rmtree(root)
