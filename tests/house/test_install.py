"""install.sh on machines that have less than it needs, and when it is called again; with Pythons that are made up."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
# A Python that claims to be {version} and only pretends to install.
case "$*" in
    "- 10 13") test -n "{fits}" && echo "{version} $0"; exit 0 ;;
    "-c import ensurepip, venv") exit {venv} ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit ;;
    "-m pip --version") exit 0 ;;
    "-m pip install "*) echo "$@" >>"{log}"; exit {pip} ;;
    "-m ruff "* | "-m mypy"* | "-m deptry "*) exit 1 ;;
    "-m pytest"*) echo "== 1 failed in 0.01s =="; exit 1 ;;
    "-m appliance "*) echo "appliance: $*" >>"{log}"; exit 3 ;;
    *) exec "{real}" "$@" ;;
esac
"""


class Machine:
    """A checkout with nothing but install.sh and pyproject.toml, and a PATH with the tools of a small system."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "check out"  # people have folders like that
        self.checkout.mkdir()
        shutil.copy(ROOT / "install.sh", self.checkout)
        (self.checkout / "pyproject.toml").write_text("[project]\n")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (
            "cat",
            "cp",
            "cut",
            "date",
            "dirname",
            "grep",
            "head",
            "mkdir",
            "mktemp",
            "rm",
            "sed",
            "sh",
            "tail",
            "tee",
        ):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        self.log = folder / "log"
        self.log.write_text("")

    def python(self, name: str, version: str, *, fits: bool = True, venv: bool = True, pip: bool = True) -> None:
        script = PYTHON.format(
            version=version,
            fits="yes" if fits else "",
            venv=0 if venv else 1,
            pip=0 if pip else 1,
            log=self.log,
            real=sys.executable,
        )
        path = self.bin / name
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.checkout / "install.sh"), *arguments],
            env={"PATH": str(self.bin), "HOME": str(self.checkout), **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def program(self, name: str, script: str = "exit 0") -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def debian(self, *installed: str, lets: bool, root: bool = True, sudo: bool = True) -> None:
        """Make it a Debian with these packages, on which apt-get can install others or not."""
        listed = " | ".join(installed) or "nothing"
        self.program("dpkg-query", f'case "$4" in {listed}) echo "install ok installed" ;; *) exit 1 ;; esac')
        self.program("apt-get", f'echo "${{SUDO-}}apt-get $*" >>"{self.log}"; exit {0 if lets else 100}')
        self.program("id", f"echo {0 if root else 1000}")
        self.program("sudo", 'test "$1" != -n || shift\nSUDO="sudo " exec "$@"' if sudo else "exit 1")
        for tool in ("env", "true"):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    @property
    def asked_of_apt(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "apt-get " in line]

    @property
    def installations(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "pip install" in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_help_names_the_two_commands() -> None:
    done = subprocess.run([ROOT / "install.sh", "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "./install.sh demo" in done.stdout
    assert "./install.sh test --quick" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "A command is due."),
        (["flash"], "There is no command flash."),
        (["demo", "--fast"], "demo knows no option --fast."),
        (["test", "--fast"], "test knows no option --fast."),
    ],
)
def test_what_it_does_not_know_ends_with_2_and_the_usage(machine: Machine, arguments: list[str], told: str) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {told}\n")
    assert "Usage: ./install.sh" in done.stderr


def test_without_any_python_it_says_which_and_how(machine: Machine) -> None:
    done = machine.run("demo")
    assert done.returncode == 1
    assert "There is no Python 3.10 to 3.13 on this machine" in done.stderr
    assert "sudo apt-get install python3 python3-venv" in done.stderr


def test_a_python_without_its_venv_module_is_not_enough(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    done = machine.run("demo")
    assert done.returncode == 1
    assert "Python 3.11 is here" in done.stderr
    assert "sudo apt-get install python3.11-venv" in done.stderr
    assert not (machine.checkout / ".venv").exists()


def test_the_first_python_that_fits_is_taken(machine: Machine) -> None:
    machine.python("python3", "3.14", fits=False)
    machine.python("python3.13", "3.13", venv=False)
    machine.python("python3.12", "3.12")
    machine.run("demo", NODE_PORT=str(free_port()))
    assert "claims to be 3.12" in (machine.checkout / ".venv/bin/python").read_text()


def test_pythons_of_pyenv_are_found_too(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "pyenv/versions/3.10.13").mkdir(parents=True)
    machine.python("python3", "3.10")
    (machine.bin / "python3").rename(tmp_path / "pyenv/versions/3.10.13/python3")
    (tmp_path / "pyenv/versions/3.10.13/bin").mkdir()
    (tmp_path / "pyenv/versions/3.10.13/python3").rename(tmp_path / "pyenv/versions/3.10.13/bin/python3")
    machine.run("demo", NODE_PORT=str(free_port()), PYENV_ROOT=str(tmp_path / "pyenv"))
    assert "claims to be 3.10" in (machine.checkout / ".venv/bin/python").read_text()


def test_the_python_that_was_asked_for_must_fit(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.python("python3.14", "3.14", fits=False)
    assert "PYTHON names python3.14, which is no Python 3.10 to 3.13" in machine.run("demo", PYTHON="python3.14").stderr
    assert "PYTHON names nothing-here" in machine.run("demo", PYTHON="nothing-here").stderr
    assert machine.installations == []


def test_it_installs_once_and_again_when_what_is_needed_changes(machine: Machine) -> None:
    machine.python("python3", "3.11")
    port = str(free_port())
    for _ in range(2):
        done = machine.run("demo", NODE_PORT=port)
        assert "The appliance ended with exit status" in done.stderr  # it only pretends
    assert len(machine.installations) == 1
    (machine.checkout / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    machine.run("demo", NODE_PORT=port)
    assert len(machine.installations) == 2


def test_what_the_tests_need_is_enough_for_the_demo_but_not_the_other_way_round(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.run("demo", NODE_PORT=str(free_port()))
    machine.run("test", "--quick")
    machine.run("demo", NODE_PORT=str(free_port()))
    assert [line.split("--editable ")[1] for line in machine.installations] == [".", ".[dev-companions]"]


def test_an_installation_that_fails_is_said_and_begun_anew_the_next_time(machine: Machine) -> None:
    machine.python("python3", "3.11", pip=False)
    done = machine.run("demo")
    assert done.returncode == 1
    assert "Run the same command again" in done.stderr
    machine.python("python3", "3.11")
    done = machine.run("demo", NODE_PORT=str(free_port()))
    assert "an earlier installation was interrupted" in done.stdout
    assert (machine.checkout / ".venv/.installed").exists()


@pytest.mark.parametrize("damage", ["python", "elsewhere"])
def test_a_damaged_environment_is_made_anew(machine: Machine, damage: str) -> None:
    machine.python("python3", "3.11")
    machine.run("demo", NODE_PORT=str(free_port()))
    if damage == "python":
        (machine.checkout / ".venv/bin/python").unlink()
    else:
        machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))
    done = machine.run("demo", NODE_PORT=str(free_port()))
    assert "Making .venv anew: " in done.stdout
    assert len(machine.installations) == 2


def test_a_port_that_is_taken_is_told_with_the_way_out(machine: Machine) -> None:
    machine.python("python3", "3.11")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = machine.run("demo", NODE_PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} is taken by another program" in done.stderr
    assert f"NODE_PORT={port + 1} ./install.sh demo" in done.stderr
    assert "appliance:" not in machine.log.read_text()


@pytest.mark.parametrize("port", ["http", "123456", "-1"])
def test_what_is_no_port_is_refused(machine: Machine, port: str) -> None:
    assert f"not {port}" in machine.run("demo", NODE_PORT=port).stderr


def test_the_port_of_its_loop_has_to_be_free_too(machine: Machine) -> None:
    machine.python("python3", "3.11")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = machine.run("demo", NODE_PORT=str(port - 10))
    assert done.returncode == 1
    assert f"Port {port} is taken by another program" in done.stderr
    assert "appliance:" not in machine.log.read_text()


def test_a_server_that_dies_is_noticed_at_once_and_nothing_is_left_behind(machine: Machine, tmp_path: Path) -> None:
    machine.python("python3", "3.11")
    (tmp_path / "scratch").mkdir()
    done = machine.run("demo", "--check", NODE_PORT=str(free_port()), TMPDIR=str(tmp_path / "scratch"))
    assert done.returncode == 1
    assert "The appliance did not get ready" in done.stderr
    assert list((tmp_path / "scratch").iterdir()) == []


def test_every_stage_is_run_and_timed_though_one_fails_and_missing_pythons_are_said(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.python("python3.12", "3.12")
    done = machine.run("test")  # the pretended environment has none of the tools
    summary = done.stdout.partition("Summary")[2]
    assert done.returncode == 1
    assert "install                      passed" in summary
    for stage in (
        "ruff check",
        "ruff format",
        "mypy",
        "lint-imports",
        "deptry",
        "tools of the converter",
        "tests, Python 3.12",
        "tests, Python 3.11",
        "slow tests",
    ):
        assert f"\n{stage}" in summary
    assert "tests, Python 3.10           not run: it is not on this machine" in summary
    assert "tests, Python 3.13           not run: it is not on this machine" in summary
    assert done.stdout.splitlines()[-1] == "== 1 failed in 0.01s =="
    assert [line.split("check ")[1] for line in machine.installations] == [
        "--editable .[dev-companions]",
        "--requirement converter_companion/tools_requirements.txt",
        "--editable .[dev]",
    ]


def test_quick_leaves_the_other_pythons_out_and_says_so(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.python("python3.12", "3.12")
    done = machine.run("test", "--quick")
    assert "other Pythons, slow tests    not run: --quick" in done.stdout
    assert not (machine.checkout / ".venv-3.12").exists()


def test_debian_packages_are_a_wish_that_has_to_be_spoken(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.debian(lets=True)
    machine.run("test", "--quick")
    assert machine.asked_of_apt == []


def test_without_apt_the_wish_is_refused(machine: Machine) -> None:
    machine.python("python3", "3.11")
    assert "--system needs apt-get" in machine.run("test", "--system").stderr


def test_what_is_missing_is_installed(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.debian("curl", "postgresql", lets=True)
    done = machine.run("test", "--system", "--quick")
    assert machine.asked_of_apt[-1].endswith(" chromium chromium-driver")
    assert "Debian packages              passed" in done.stdout


def test_others_than_root_ask_by_sudo(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.debian(lets=True, root=False)
    machine.run("test", "--system", "--quick")
    assert all(line.startswith("sudo ") for line in machine.asked_of_apt)
    assert machine.asked_of_apt


def test_apt_is_not_asked_for_what_is_there(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.debian("curl", "postgresql", "chromium", "chromium-driver", lets=False)
    done = machine.run("test", "--system", "--quick")
    assert machine.asked_of_apt == []
    assert "Debian packages              passed" in done.stdout


@pytest.mark.parametrize("browser", [True, False])
def test_an_apt_that_fails_is_no_failure_where_a_browser_is_there_all_the_same(machine: Machine, browser: bool) -> None:
    machine.python("python3", "3.11")
    machine.debian("curl", lets=False)
    if browser:
        machine.program("chromium")
        machine.program("chromedriver")
    done = machine.run("test", "--system", "--quick")
    assert machine.asked_of_apt, "it has to be tried"
    assert f"Debian packages              {'passed' if browser else 'FAILED'}" in done.stdout
    assert "apt-get could not install postgresql chromium chromium-driver" in done.stdout
    assert "\ntests, Python 3.11" in done.stdout.partition("Summary")[2], "the others are run all the same"


@pytest.mark.parametrize("browser", [True, False])
def test_that_the_pages_were_tried_in_no_browser_is_said(machine: Machine, browser: bool) -> None:
    machine.python("python3", "3.11")
    if browser:
        machine.program("chromium")
        machine.program("chromedriver")
    summary = machine.run("test").stdout.partition("Summary")[2]
    assert ("tests in a browser           not run: chromium and chromium-driver are not here" in summary) is not browser


@pytest.mark.parametrize(
    ("apt", "root", "sudo", "option"),
    [
        (True, True, False, " --system"),
        (True, False, True, " --system"),
        (True, False, False, ""),
        (False, True, True, ""),
    ],
)
def test_the_build_server_has_debian_packages_installed_where_it_may(
    machine: Machine, apt: bool, root: bool, sudo: bool, option: str
) -> None:
    (machine.checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", machine.checkout / ".ci")
    (machine.checkout / "install.sh").write_text('echo "called with $*"\n')
    (machine.checkout / "install.sh").chmod(0o755)
    machine.debian(lets=apt, root=root, sudo=sudo)
    if not apt:
        (machine.bin / "apt-get").unlink()
    done = subprocess.run(
        ["sh", machine.checkout / ".ci/run"],
        env={"PATH": str(machine.bin)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == f"called with test{option}"
