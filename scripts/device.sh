#!/usr/bin/env bash
# Sets up a board once, from the lab's computer: your ssh key, its host key, the engine, the right to use it.
#   scripts/device.sh dime@nano
# Each step says what it found; nothing is changed that is right already. The board's own password is asked for by ssh.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
board=$1

say() { printf '%s: %s\n' "$board" "$*"; }

if ! answer=$(ssh -o BatchMode=yes -o ConnectTimeout=6 "$board" true 2>&1); then
    case $answer in
        *"HOST IDENTIFICATION HAS CHANGED"*)
            say "its host key has changed; if it was set up anew, type: ssh-keygen -R ${board##*@}; if not, somebody may be in between"
            exit 1 ;;
        *"Permission denied"* | *"Host key verification failed"*) ;;  # it answers, and does not know you or you do not know it
        *) say "ssh does not get there: ${answer##*$'\n'}"; exit 1 ;;
    esac
    compgen -G "$HOME/.ssh/id_*" >/dev/null || ssh-add -L >/dev/null 2>&1 || { ssh-keygen -t ed25519; say "made a key for you"; }
    say "compare the fingerprint with the board's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    ssh-copy-id "$board"
fi
say "your key opens it, its host key is known"
if ! ssh "$board" docker version >/dev/null 2>&1; then
    if ssh "$board" command -v docker >/dev/null; then
        ssh -t "$board" 'sudo systemctl enable --now docker && sudo usermod -aG docker "$USER"'
        say "you are in the group docker there"
    else
        say "installs Docker from its own distribution"
        ssh -t "$board" 'sudo apt-get update && sudo apt-get install -y docker.io && sudo usermod -aG docker "$USER"'
    fi
fi
ssh "$board" docker version --format "'Docker {{.Server.Version}} for {{.Server.Arch}}'"
if ssh "$board" test -e /etc/nv_tegra_release; then
    ssh "$board" docker info --format "'{{json .Runtimes}}'" | grep -q '"nvidia"' ||
        say "lacks the nvidia runtime; type there: sudo apt-get install nvidia-container-runtime"
    say "board = \"nano\""
fi
ssh "$board" timedatectl show --property=NTPSynchronized --value 2>/dev/null | grep -q yes ||
    say "its clock is not synchronised; type there: sudo timedatectl set-ntp true"
say "add to lab.toml: [${board##*@}]  engine = \"ssh://$board\"; then: make doctor"
