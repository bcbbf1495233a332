#!/bin/sh
# Installs the detector appliance beside this file, and starts or tests it. `./install.sh --help` tells how.
# Plain POSIX shell: it runs under dash, bash and busybox, and needs nothing but Python 3.10 to 3.13 and its venv module.
set -eu
unset PYTHONPATH PYTHONHOME CDPATH

OLDEST=10
NEWEST=13
# All that `test --system` installs: a client, a database for fleets, a browser that tests can steer.
DEBIAN_PACKAGES="curl postgresql chromium chromium-driver"
READY_WITHIN_S=120

usage() {
    cat <<'END'
Usage: ./install.sh COMMAND [OPTION]

Commands
  demo              install into .venv (once) and run the appliance on this machine, with the model that comes along,
                    beside a Learning Loop of its own that it follows and sends pictures to
    --check         start both, look at one picture, find it in the Loop, stop; exit status 0 if that worked
  test              install into .venv with everything that the tests need, and run all checks and tests
    --quick         without the slow tests and the other Pythons of this machine (at most 10 minutes)
    --system        allow apt-get to install Debian packages (Chromium for the tests of the pages, and more);
                    without it nothing outside this folder is changed

Environment
  NODE_PORT, PORT   port of the demo (8004); its Loop has the one that is ten higher
  DATA_FOLDER       below it, in demo/, are the demo's models and pictures (the user's data folder)
  PYTHON            the Python to make .venv with (the first that fits: python3, python3.13 ... python3.10)

Examples
  ./install.sh demo
  NODE_PORT=8080 ./install.sh demo
  ./install.sh test --quick
END
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

misused() {
    printf 'Error: %s\n\n' "$*" >&2
    usage >&2
    exit 2
}

# ---------------------------------------------------------------------------------------------------------------------
# Which Python

# Every name under which a Python may be found, the preferred first; one path a line.
candidates() {
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        (
            IFS=:
            set -f
            for folder in $PATH; do
                if [ -x "$folder/$name" ]; then printf '%s\n' "$folder/$name"; fi
            done
        )
    done
    for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        for path in "$root"/versions/3.*/bin/python3; do
            if [ -x "$path" ]; then printf '%s\n' "$path"; fi
        done
    done
}

# "3.11 /path/of/python" of a candidate, or nothing where it is too old, too new or does not start.
describe() {
    "$1" - "$OLDEST" "$NEWEST" 2>/dev/null <<'END' || true
import sys
oldest, newest = map(int, sys.argv[1:])
version = sys.version_info
if sys.implementation.name == "cpython" and version[0] == 3 and oldest <= version[1] <= newest:
    print("3.%d %s" % (version[1], sys.executable))
END
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The Pythons of this machine that fit, one "version path" a line, each version once; those with venv only.
pythons() {
    seen=" "
    candidates | while IFS= read -r candidate; do
        found=$(describe "$candidate")
        version=${found%% *}
        case "$seen" in *" $version "*) continue ;; esac
        if [ -n "$found" ] && can_make_venv "${found#* }"; then
            seen="$seen$version "
            printf '%s\n' "$found"
        fi
    done
}

# The Python to make .venv with. Where there is none, it says what is missing and how to get it.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        found=$(describe "$PYTHON")
        if [ -z "$found" ]; then fail "PYTHON names $PYTHON, which is no Python 3.$OLDEST to 3.$NEWEST."; fi
    else
        found=$(pythons | head -n 1)
        if [ -z "$found" ]; then
            found=$(candidates | while IFS= read -r candidate; do describe "$candidate"; done | head -n 1)
        fi
    fi
    if [ -z "$found" ]; then
        fail "There is no Python 3.$OLDEST to 3.$NEWEST on this machine ($(python3 --version 2>&1 || true)).
       On Debian, Ubuntu and Raspberry Pi OS: sudo apt-get install python3 python3-venv"
    fi
    version=${found%% *}
    path=${found#* }
    if ! can_make_venv "$path"; then
        fail "Python $version is here ($path), but its venv module is not.
       On Debian, Ubuntu and Raspberry Pi OS: sudo apt-get install python$version-venv"
    fi
    printf '%s\n' "$path"
}

# ---------------------------------------------------------------------------------------------------------------------
# Virtual environments

# What an installation depends on; a different answer means: install again.
fingerprint() {
    "$1/bin/python" - "$here" <<'END'
import hashlib, pathlib, sys
print(hashlib.sha256(pathlib.Path("pyproject.toml").read_bytes()).hexdigest(), sys.version.split()[0], sys.argv[1])
END
}

made_elsewhere() {
    case "$(cat "$1/.installed" 2>/dev/null || true)" in
    "" | *" $here") return 1 ;;
    esac
}

# install FOLDER base|dev|dev-companions [PYTHON]: makes FOLDER a virtual environment with this project in it, if it is not
# one already; each of the three has all that the one before has.
install() {
    folder=$1 wanted=$2 python=${3:-}
    if [ -d "$folder" ]; then
        repair=""
        if [ -e "$folder/.installing" ]; then
            repair="an earlier installation was interrupted"
        elif ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
            repair="it is damaged"
        elif [ -z "$(describe "$folder/bin/python")" ]; then
            repair="its Python is none of 3.$OLDEST to 3.$NEWEST"
        elif made_elsewhere "$folder"; then
            repair="it was made in another folder"
        fi
        if [ -n "$repair" ]; then
            say "Making $folder anew: $repair."
            rm -rf "$folder"
        fi
    fi
    if [ ! -d "$folder" ]; then
        if [ -z "$python" ]; then python=$(choose_python) || exit 1; fi
        mkdir "$folder"
        : >"$folder/.installing"
        "$python" -m venv "$folder" || fail "$python could not make the virtual environment $folder; see above."
    fi
    now=$(fingerprint "$folder")
    case "$wanted" in
    base) what="." enough="base dev dev-companions" ;;
    *) what=".[$wanted]" enough="$wanted dev-companions" ;;
    esac
    for kind in $enough; do
        if grep -qxF "$kind $now" "$folder/.installed" 2>/dev/null; then return; fi
    done
    if [ -t 1 ]; then quiet=""; else quiet="--quiet"; fi
    say "Installing into $folder (the first time this takes some minutes and a network)."
    : >"$folder/.installing"
    rm -f "$folder/.installed"
    # shellcheck disable=SC2086 # no option is due where $quiet is empty
    "$folder/bin/python" -m pip install $quiet --disable-pip-version-check --editable "$what" ||
        fail "The installation into $folder failed; see above. Run the same command again to go on."
    printf '%s %s\n' "$wanted" "$now" >"$folder/.installed"
    rm -f "$folder/.installing"
}

# ---------------------------------------------------------------------------------------------------------------------
# demo

# Exit status 0 if nothing listens on the port of this machine; else says who does.
port_is_free() {
    program=$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p')
    .venv/bin/python - "$1" "${program:-another program}" <<'END'
import http.client, json, socket, sys
port, program = int(sys.argv[1]), sys.argv[2]
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
        sys.exit(0)
    except PermissionError:
        sys.exit(f"Port {port} may be used by root alone.")
    except OSError:
        pass
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
try:
    connection.request("GET", "/about")
    about = json.loads(connection.getresponse().read(1 << 20))
    model = (about.get("model_info") or {}).get("version", "none")
    sys.exit(f"A detector runs on port {port} already (model {model}): http://127.0.0.1:{port}")
except (OSError, ValueError, AttributeError, http.client.HTTPException):
    sys.exit(f"Port {port} is taken by {program}.")
END
}

# Waits until the appliance can detect. Exit status 1 after $2 seconds, or when the process $3 is gone.
wait_until_ready() {
    .venv/bin/python - "$1" "$2" "$3" <<'END'
import os, pathlib, signal, sys, time, urllib.request
signal.signal(signal.SIGINT, signal.SIG_DFL)
url, seconds, process = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        os.kill(process, 0)
        status = pathlib.Path(f"/proc/{process}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            sys.exit(1)
        with urllib.request.urlopen(url + "/readyz", timeout=2) as answer:
            if answer.status == 200:
                sys.exit(0)
    except ProcessLookupError:
        sys.exit(1)
    except OSError:
        pass
    time.sleep(0.1)
sys.exit(1)
END
}

# Uploads the picture $3 to the appliance on port $1, and waits until the Loop on port $2 has it.
arrives_in_the_loop() {
    .venv/bin/python - "$@" <<'END'
import sys, time
import httpx
box, loop = (f"http://127.0.0.1:{port}" for port in sys.argv[1:3])
with open(sys.argv[3], "rb") as picture:
    httpx.post(f"{box}/upload", files={"files": picture}, timeout=60).raise_for_status()
end = time.monotonic() + 60
while time.monotonic() < end:
    if httpx.get(f"{loop}/api/demo/projects/everyday-objects/data", timeout=60).json()["image_ids"]:
        sys.exit(0)
    time.sleep(0.2)
sys.exit("The outbox says: " + httpx.get(f"{box}/api/v1/outbox", timeout=60).text)
END
}

server=""
scratch=""
clean_up() {
    trap - EXIT INT TERM HUP
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}

demo() {
    check=""
    for option in "$@"; do
        case "$option" in
        --check | --once) check=yes ;;
        *) misused "demo knows no option $option." ;;
        esac
    done
    port=${NODE_PORT:-${PORT:-8004}}
    case "$port" in *[!0-9]* | ??????*) misused "The port must be a number from 1 to 65535, not $port." ;; esac
    install .venv base

    loop_port=$((port + 10))
    for each in "$port" "$loop_port"; do
        port_is_free "$each" ||
            fail "The demo needs two ports of its own. Others: NODE_PORT=$((port + 1)) ./install.sh demo"
    done

    trap 'clean_up; exit 0' INT TERM HUP
    trap clean_up EXIT
    scratch=$(mktemp -d)
    if [ -n "$check" ]; then DATA_FOLDER="$scratch/data"; export DATA_FOLDER; fi
    .venv/bin/python -m appliance demo --port "$port" --loop-port "$loop_port" &
    server=$!

    if [ -n "$check" ]; then
        wait_until_ready "http://127.0.0.1:$port" "$READY_WITHIN_S" "$server" ||
            fail "The appliance did not get ready; see above."
        picture=$(.venv/bin/python -c 'from models.zoo import photograph; print(photograph())')
        say "Looking at $picture:"
        found=$(.venv/bin/python -m appliance detect "$picture" --data-dir "$scratch/data/demo/box") ||
            fail "The appliance could not look at $picture; see above."
        printf '%s\n' "$found"
        case "$found" in *"%  cup"*) ;; *) fail "The appliance did not see the cup in $picture; see above." ;; esac
        arrives_in_the_loop "$port" "$loop_port" "$picture" || fail "The picture did not arrive in the Loop; see above."
        say "The demo works."
        return
    fi
    status=0
    wait "$server" || status=$?
    server=""
    if [ "$status" -ne 0 ]; then fail "The appliance ended with exit status $status; see above."; fi
}

# ---------------------------------------------------------------------------------------------------------------------
# test

summary=""
failed=""

# stage NAME COMMAND...: runs it, and notes how long it took and how it ended.
stage() {
    name=$1
    shift
    say ""
    say "--- $name"
    began=$(date +%s)
    outcome=passed
    "$@" || outcome=FAILED
    took=$(($(date +%s) - began))
    if [ "$outcome" = FAILED ]; then failed=yes; fi
    line=$(printf '%-28s %-7s %3d min %02d s' "$name" "$outcome" $((took / 60)) $((took % 60)))
    summary="$summary$line
"
}

# note NAME TEXT: a line of the summary about what was not run.
note() {
    line=$(printf '%-28s %s' "$1" "$2")
    summary="$summary$line
"
}

# pytest, with its output kept: the last line of it is the last line of all.
run_pytest() {
    { "$@" && echo 0 >"$scratch/status" || echo $? >"$scratch/status"; } 2>&1 | tee "$scratch/pytest.log"
    [ "$(cat "$scratch/status")" = 0 ]
}

# What makes LiteRT of networks, in an environment of its own: its packages and the pages' exclude each other.
litert_tools() {
    folder=.venv-tools
    wanted="$(cksum <converter_companion/tools_requirements.txt) $main $here"
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ]; then return; fi
    rm -rf "$folder"
    .venv/bin/python -m venv "$folder" &&
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
            --requirement converter_companion/tools_requirements.txt &&
        printf '%s\n' "$wanted" >"$folder/.installed"
}

other_python() ( # a failed installation ends this stage, not the others
    install ".venv-$1" dev "$2"
    # Beside each other: these tests wait for nothing real. A file's tests share what they have made.
    ".venv-$1/bin/python" -m pytest -m "not slow" --numprocesses auto --dist loadfile tests/unit tests/wire
)

has_browser() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

# Installs what is missing of DEBIAN_PACKAGES. Where that fails, what is here has to do, but no browser is too little.
debian_packages() {
    command -v apt-get >/dev/null || fail "--system needs apt-get, which this machine has not; leave the option out."
    as_root=""
    if [ "$(id -u)" != 0 ]; then as_root=sudo; fi
    if [ -z "$(pythons | head -n 1)" ]; then DEBIAN_PACKAGES="$DEBIAN_PACKAGES python3-venv"; fi
    missing=""
    for package in $DEBIAN_PACKAGES; do
        # shellcheck disable=SC2016 # the format is dpkg's
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" in
        *" installed") ;;
        *) missing="$missing $package" ;;
        esac
    done
    if [ -z "$missing" ]; then
        say "They are installed already: $DEBIAN_PACKAGES"
        return
    fi
    # shellcheck disable=SC2086 # several packages, and perhaps no sudo
    if $as_root apt-get update -q &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; then
        return
    fi
    if has_browser; then
        say "apt-get could not install$missing; see above. The tests that need that are left out."
    else
        say "Error: apt-get could not install$missing; see above. Without Chromium the tests of the pages cannot run."
        return 1
    fi
}

tests() {
    quick="" system=""
    for option in "$@"; do
        case "$option" in
        --quick) quick=yes ;;
        --system) system=yes ;;
        *) misused "test knows no option $option." ;;
        esac
    done
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    scratch=$(mktemp -d)
    start=$(date +%s)

    if [ -n "$system" ]; then stage "Debian packages" debian_packages; fi
    stage "install" install .venv dev-companions
    if [ "$outcome" = FAILED ]; then exit 1; fi
    stage "ruff check" .venv/bin/python -m ruff check .
    stage "ruff format" .venv/bin/python -m ruff format --check .
    stage "mypy" .venv/bin/python -m mypy
    stage "lint-imports" .venv/bin/lint-imports
    stage "deptry" .venv/bin/python -m deptry .

    main=$(describe .venv/bin/python)
    main=${main%% *}
    if [ -z "$quick" ]; then
        stage "tools of the converter" litert_tools
        LITERT_TOOLS_PYTHON="$here/.venv-tools/bin/python"
        export LITERT_TOOLS_PYTHON
        pythons >"$scratch/pythons"
        for minor in 10 11 12 13; do
            if [ "3.$minor" = "$main" ]; then continue; fi
            path=$(sed -n "s/^3\.$minor //p" "$scratch/pythons")
            if [ -n "$path" ]; then
                stage "tests, Python 3.$minor" other_python "3.$minor" "$path"
            else
                note "tests, Python 3.$minor" "not run: it is not on this machine"
            fi
        done
        note "companions, other Pythons" "not run: PyTorch (0.9 GB) is installed for Python $main only"
    else
        note "other Pythons, slow tests" "not run: --quick"
    fi
    stage "tests, Python $main" run_pytest .venv/bin/python -m pytest -m "not slow" --numprocesses auto --dist loadfile
    if [ -z "$quick" ]; then
        # They start real servers and wait for them, so two at a time take half as long, however many cores there are.
        stage "slow tests, Python $main" run_pytest .venv/bin/python -m pytest -m slow --numprocesses 2 --dist loadfile
        has_browser ||
            note "tests in a browser" "not run: chromium and chromium-driver are not here; --system installs them"
    fi

    took=$(($(date +%s) - start))
    say ""
    say "Summary, $((took / 60)) min $((took % 60)) s in all"
    printf '%s' "$summary"
    tail -n 1 "$scratch/pytest.log"
    if [ -n "$failed" ]; then exit 1; fi
}

# ---------------------------------------------------------------------------------------------------------------------

cd "$(dirname "$0")"
here=$(pwd -P)
command=${1:-}
if [ $# -gt 0 ]; then shift; fi
case "$command" in
demo) demo "$@" ;;
test) tests "$@" ;;
-h | --help | help) usage ;;
"") misused "A command is due." ;;
*) misused "There is no command $command." ;;
esac
