#!/usr/bin/env bash
# Sets up the lab's computer once for images and boards: Docker with buildx, the emulation of arm64, the rights to use them.
#   scripts/computer.sh
# Each step says what it found; nothing is changed that is right already. Debian or Ubuntu; sudo is asked where needed.
set -euo pipefail
[ $# = 0 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }

say() { printf 'computer: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v docker >/dev/null || missing+=(docker.io)
command -v ssh >/dev/null || missing+=(openssh-client)
docker buildx version >/dev/null 2>&1 || missing+=(docker-buildx)
case $(uname -m) in
    aarch64 | arm64) ;;
    *) [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || missing+=(qemu-user-static binfmt-support) ;;
esac
if [ ${#missing[@]} -gt 0 ]; then
    as_root apt-get update -qq
    for package in "${missing[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            say "installs $package"
            as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null
        else
            say "this distribution has no $package: install Docker Engine as its own manual says, which brings buildx"
            exit 1
        fi
    done
fi
as_root systemctl enable --now docker 2>/dev/null || say "no systemd here: start dockerd yourself"
for group in docker dialout; do
    if [ "$(id -u)" != 0 ] && ! id -nG | grep -qw "$group"; then
        as_root usermod -aG "$group" "$USER"
        say "you are in the group $group now; log in again for it to count"
    fi
done
docker info --format '{{json .DriverStatus}}' 2>/dev/null | grep -q containerd.snapshotter ||
    say "this image store holds one platform a name; for both at once: {\"features\": {\"containerd-snapshotter\": true}} in /etc/docker/daemon.json"
say "$(docker --version), $(docker buildx version)"
say "ready; next: scripts/device.sh USER@BOARD, scripts/meter.sh PORT, make build DEVICE=BOARD"
