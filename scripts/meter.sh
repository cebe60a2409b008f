#!/usr/bin/env bash
# Gives a meter's serial port a name that stays, whichever socket it is put into, and shows that lines come.
#   scripts/meter.sh /dev/ttyUSB0 [NAME]     afterwards it is /dev/NAME; NAME is smartpower3 by default
# Writes one udev rule, by the serial number of the meter's USB converter; sudo is asked for that.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
port=$1 name=${2:-smartpower3}

say() { printf 'meter: %s\n' "$*"; }
fail() { say "$*"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

[ -c "$port" ] || fail "$port is not there; ls /dev/ttyUSB* shows what is plugged in"
[[ $name =~ ^[a-z0-9_-]+$ ]] || fail "NAME has small letters, digits, '-' and '_'"
properties=$(udevadm info --query=property --name="$port") || fail "udev knows nothing of $port"
value() { sed -n "s/^$1=//p" <<<"$properties"; }
vendor=$(value ID_VENDOR_ID) product=$(value ID_MODEL_ID) serial=$(value ID_SERIAL_SHORT)
[ -n "$vendor" ] || fail "$port is no USB converter"
rule="SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"$vendor\", ATTRS{idProduct}==\"$product\""
[ -z "$serial" ] || rule+=", ATTRS{serial}==\"$serial\""
rule+=", SYMLINK+=\"$name\", GROUP=\"dialout\", MODE=\"0660\""
file=/etc/udev/rules.d/60-dime-$name.rules
if [ "$(cat "$file" 2>/dev/null)" != "$rule" ]; then
    as_root tee "$file" >/dev/null <<<"$rule"
    as_root udevadm control --reload
    as_root udevadm trigger --subsystem-match=tty
    say "wrote $file"
fi
say "/dev/$name is this meter; in lab.toml: meter = { name = \"smartpower3\", port = \"/dev/$name\", baud = 921600 }"
say "try it: dime power log try.csv --serial=/dev/$name --baud=921600   (Ctrl-C ends it)"
