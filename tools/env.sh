#!/bin/sh
# sh tools/env.sh FOLDER [PYTHON]: make the environment that the Makefile runs everything in.
#
# It says what it does, and in one line what is missing. What an earlier try left half-made is made
# anew. uv installs: the machine's own, else one that pip fetches into the environment.
set -eu
venv=$1
python=${2:-}
wanted='labkit needs Python 3.11 or newer'

fail() {
    echo "make env: $*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# the program that was asked for, else the first on PATH that is new enough
find_python() {
    [ -z "$python" ] || set -- "$python"
    [ $# -gt 0 ] || set -- python3 python3.14 python3.13 python3.12 python3.11
    for name in "$@"; do
        if new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
}

whole() {
    new_enough "$venv/bin/python" || return 1
    [ -n "$uv" ] || [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

create() {
    found=$(find_python)
    if [ -n "$uv" ]; then
        [ -n "$found" ] || echo "$wanted: uv brings one"
        "$uv" venv --quiet --python "${found:-3.13}" "$venv" ||
            fail "$wanted, and uv has none: make PYTHON=/path/to/python3.11 env"
    elif [ -z "$found" ]; then
        there=$("${python:-python3}" --version 2>/dev/null || echo missing)
        fail "$wanted, and ${python:-python3} is $there: make PYTHON=/path/to/python3.11 env," \
            "or install uv (docs.astral.sh/uv), which brings one"
    elif ! "$found" -m venv "$venv" >"$venv.log" 2>&1; then
        rm -rf "$venv"
        fail "$found cannot make an environment ($venv.log says why): on Debian and Ubuntu" \
            "\`apt install python3-venv\`, or install uv (docs.astral.sh/uv)"
    fi
    rm -f "$venv.log"
}

[ -w . ] || fail "$PWD cannot be written to: copy the checkout, or run it from a folder of" \
    "your own with \`uvx --from '$PWD' labkit demo\`"

# found out before 1.2 GB are fetched; a link to the machine's python runs from any disk
folder=$(dirname "$venv")
mkdir -p "$folder"
printf '#!/bin/sh\n' >"$folder/.try"
chmod +x "$folder/.try"
runs=$("$folder/.try" 2>/dev/null || echo no)
rm -f "$folder/.try"
[ -z "$runs" ] || fail "no program can be executed from $venv (is the disk mounted noexec?):" \
    "name a folder on another disk, as in \`make VENV=/path/to/labkit-env demo\`"

uv=$(command -v uv || true)
if ! whole; then
    if [ -e "$venv" ] && ! [ -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "$PWD/$venv is there and is no Python environment: move it away"
    fi
    rm -rf "$venv"
    echo "making the environment in $venv"
    create
fi
if [ -z "$uv" ]; then
    uv=$venv/bin/uv
    if ! [ -x "$uv" ]; then
        echo "fetching uv, which installs the rest"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv ||
            fail "pip cannot fetch uv, in its words above: it needs a network, or an index of yours" \
                "(PIP_INDEX_URL, and UV_DEFAULT_INDEX for the rest)"
    fi
fi

# where Python may not keep what it compiles, every process would compile pandas anew
compile=${PYTHONDONTWRITEBYTECODE:+--compile-bytecode}

# uv takes a package for installed that was half copied when an earlier try was ended
unfinished=$venv/.unfinished
[ ! -e "$unfinished" ] || again=--reinstall
touch "$unfinished"

install() {
    # shellcheck disable=SC2086 # options, each one or none
    "$uv" pip install $compile ${again:-} --python "$venv/bin/python" -e . --group dev &&
        rm "$unfinished"
}
echo "installing labkit and the 180 packages it needs (1.2 GB) into $venv${compile:+, and compiling them}"
if [ -t 2 ]; then
    install
else
    # a log gets what is fetched, not a line a package at the end
    install 2>&1 | grep -v '^ [-+~] ' || true
    [ ! -e "$unfinished" ] || exit 1
fi
