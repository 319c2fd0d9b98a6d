#!/bin/sh
# Restores what apply.sh changed, from the values that it kept.
set -eu

usage() {
    cat <<'END'
usage: revert.sh [--dry-run] [--state FILE]

  --dry-run      say what would be restored, and change nothing
  --state FILE   where the former values are [default: /var/lib/alarmcast/tuning.state]
END
}

die() {
    echo "revert.sh: $*" >&2
    exit 1
}

dry_run=false
state=/var/lib/alarmcast/tuning.state

while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry_run=true ;;
    --state)
        [ $# -ge 2 ] || die "$1 needs a value"
        state=$2
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

if ! $dry_run && [ "$(id -u)" -ne 0 ]; then
    die "must be root; --dry-run need not"
fi
if [ ! -e "$state" ]; then
    echo "nothing to restore: there is no $state"
    exit 0
fi

restore_sysctl() {
    file=/proc/sys/$(echo "$1" | tr . /)
    now=$(tr '\t' ' ' <"$file")
    if [ "$now" = "$2" ]; then
        return
    fi
    echo "$1: $now -> $2"
    # An empty line empties a list of ports.
    $dry_run || echo "$2" >"$file" || die "$1 was not restored; $state is kept"
}

restore_limits() {
    echo "$1: $2"
    if $dry_run; then
        return
    fi
    case $2 in
    absent) rm -f "$1" ;;
    *) echo "$2" >"$1" ;;
    esac
}

while read -r name value; do
    case $name in
    limits:*) restore_limits "${name#limits:}" "$value" ;;
    *) restore_sysctl "$name" "$value" ;;
    esac
done <"$state"
$dry_run || rm -f "$state"
