# shellcheck shell=bash
# Installs missing Debian packages; sourced by the scripts that users run.

# Sets `missing` to those packages of "PROGRAM:PACKAGE..." whose program or file does not exist.
find_missing() {
    local entry
    missing=()
    PATH=$PATH:/usr/sbin:/sbin
    for entry in "$@"; do
        [ -e "${entry%%:*}" ] || command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
    done
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Installs the packages in `missing`, silently unless it fails; fails if that is not possible.
install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    local log
    if ! command -v apt-get >/dev/null; then
        echo "these Debian packages, or what your system has in their place, are not installed: ${missing[*]}" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "not root and without sudo; as root run: apt-get install ${missing[*]}" >&2
        return 1
    fi
    log=$(mktemp)
    echo "installing ${missing[*]}"
    # The package lists of a fresh machine are empty or old, so the second attempt updates them first.
    if ! apt_install >"$log" 2>&1 && ! { as_root apt-get -qq update && apt_install; } >"$log" 2>&1; then
        cat "$log" >&2
        rm "$log"
        return 1
    fi
    rm "$log"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}"
}
