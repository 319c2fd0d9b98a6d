#!/bin/sh
# Makes the changes that `alarmcast doctor --settings` asks for, and keeps the former values.
# What it changes lasts until the next boot; the limits file stays. revert.sh takes it all back.
set -eu

usage() {
    cat <<'END'
usage: apply.sh [OPTION…]

  --dry-run          say what would be changed, and change nothing
  --connections N    for so many connections [default: the configured maximum]
  --settings FILE    what `alarmcast doctor --settings` printed; - is stdin [default: ask it]
  --program FILE     the alarmcast to ask [default: the one in PATH]
  --state FILE       where former values are kept [default: /var/lib/alarmcast/tuning.state]
  --limits-file FILE where the limit of open files is written
                     [default: /etc/security/limits.d/90-alarmcast.conf]
END
}

die() {
    echo "apply.sh: $*" >&2
    exit 1
}

dry_run=false
connections=
settings=
state=/var/lib/alarmcast/tuning.state
program=alarmcast
limits_file=/etc/security/limits.d/90-alarmcast.conf

while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry_run=true ;;
    --connections | --settings | --program | --state | --limits-file)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
        --connections) connections=$2 ;;
        --settings) settings=$2 ;;
        --program) program=$2 ;;
        --state) state=$2 ;;
        --limits-file) limits_file=$2 ;;
        esac
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

ask_doctor() {
    if [ -n "$connections" ]; then
        "$program" doctor --settings --connections "$connections"
    else
        "$program" doctor --settings
    fi
}

case $settings in
'') wanted=$(ask_doctor) || die "\`$program doctor --settings\` failed" ;;
-) wanted=$(cat) ;;
*) wanted=$(cat "$settings") ;;
esac

# Says that something is changed, and keeps what it was: of several runs the first one's.
keep() {
    echo "$1: $2 -> $3"
    if $dry_run; then
        return
    fi
    mkdir -p "$(dirname "$state")"
    touch "$state"
    if ! grep -q "^$1 " "$state"; then
        echo "$1 $2" >>"$state"
    fi
}

apply_sysctl() {
    case $1 in
    *[!a-z0-9_.-]* | *..* | .*) die "not the name of a sysctl: $1" ;;
    esac
    file=/proc/sys/$(echo "$1" | tr . /)
    if [ ! -e "$file" ]; then
        echo "$1: not on this kernel, left out" >&2
        return
    fi
    # The kernel separates numbers with tabs.
    now=$(tr '\t' ' ' <"$file")
    if [ "$now" = "$2" ]; then
        return
    fi
    keep "$1" "$now" "$2"
    $dry_run || echo "$2" >"$file" || die "$1 was not changed"
}

apply_nofile() {
    case $1 in
    '' | *[!0-9]*) die "not a limit: $1" ;;
    esac
    line="* - nofile $1"
    now=absent
    if [ -e "$limits_file" ]; then
        now=$(cat "$limits_file")
    fi
    if [ "$now" = "$line" ]; then
        return
    fi
    # Only a file that was made here is ever replaced.
    case $now in
    absent | '* - nofile '[0-9]*) ;;
    *) die "$limits_file is not of apply.sh: change it by hand, to have: $line" ;;
    esac
    keep "limits:$limits_file" "$now" "$line"
    if ! $dry_run; then
        echo "$line" >"$limits_file"
        echo "logins from now on have it; a systemd unit needs LimitNOFILE=$1"
    fi
}

echo "$wanted" | {
    while read -r kind name value; do
        case $kind in
        sysctl) apply_sysctl "$name" "$value" ;;
        limit)
            [ "$name" = nofile ] || die "unknown limit: $name"
            apply_nofile "$value"
            ;;
        '') ;;
        *) die "not understood: $kind $name $value" ;;
        esac
    done
}
if ! $dry_run && [ -s "$state" ]; then
    echo "the former values are in $state; revert.sh restores them"
fi
