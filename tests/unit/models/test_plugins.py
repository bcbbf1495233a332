"""Packages that add parts: found when asked for, blamed when broken, and never in the way of the others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models import plugins
from models.errors import BundleError, ModelFailed

GROUP = "detector_appliance.tests"
BUILT_IN = {"fraction": "fractions:Fraction", "lost": "fractions:NoSuchThing"}

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package as pip would leave it behind: its module, and what its metadata offer."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, offers: str, code: str = "") -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{offers}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_a_built_in_part_is_found_without_any_package() -> None:
    assert plugins.find(GROUP, BUILT_IN, "fraction").__name__ == "Fraction"
    assert plugins.create(GROUP, BUILT_IN, "fraction") == 0
    assert plugins.names(GROUP, BUILT_IN) == ["fraction", "lost"]


def test_a_package_adds_a_part(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue", "class Blue:\n    shade = 7\n")
    assert plugins.names(GROUP, BUILT_IN) == ["blue", "fraction", "lost"]
    assert plugins.find(GROUP, BUILT_IN, "blue").shade == 7
    assert plugins.create(GROUP, BUILT_IN, "blue", needs=["shade"]).shade == 7


def test_a_package_cannot_take_a_built_in_name(install: Install) -> None:
    install("thief", "fraction = thief:Fraction", "Fraction = None\n")
    assert plugins.find(GROUP, BUILT_IN, "fraction").__name__ == "Fraction"


def test_an_unknown_name_is_refused_with_the_known_ones(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue")
    with pytest.raises(BundleError, match=f"no 'green' in {GROUP}; known are blue, fraction, lost. .*entry point"):
        plugins.find(GROUP, BUILT_IN, "green")


def test_names_of_another_group_do_not_count(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue")
    assert plugins.names("detector_appliance.others", {}) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param(
            "import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'", id="a library"
        ),
        pytest.param("class Blue(:\n", "SyntaxError", id="syntax"),
        pytest.param("raise RuntimeError('no camera')\n", "RuntimeError: no camera", id="fails at import"),
        pytest.param("import sys\nsys.exit('goodbye')\n", "SystemExit: goodbye", id="exits at import"),
        pytest.param("Blau = 1\n", "AttributeError: .*Blue", id="the class is not there"),
    ],
)
def test_a_broken_package_is_named_and_leaves_the_others_alone(install: Install, code: str, says: str) -> None:
    install("blue-parts", "blue = blue_parts:Blue", code)
    install("red-parts", "red = red_parts:Red", "class Red: pass\n")
    with pytest.raises(
        ModelFailed, match=f"blue-parts 1.2 offers 'blue' in {GROUP}, but blue_parts:Blue cannot .*{says}"
    ):
        plugins.find(GROUP, BUILT_IN, "blue")
    assert plugins.names(GROUP, BUILT_IN) == ["blue", "fraction", "lost", "red"]
    assert plugins.find(GROUP, BUILT_IN, "red").__name__ == "Red"


def test_a_part_that_cannot_be_made_is_the_fault_of_its_package(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue", "class Blue:\n    def __init__(self, shade): pass\n")
    with pytest.raises(ModelFailed, match=r"blue-parts 1\.2 .* TypeError: .*shade"):
        plugins.create(GROUP, BUILT_IN, "blue")


def test_a_part_that_lacks_what_its_kind_needs_is_the_fault_of_its_package(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue", "class Blue:\n    def decode(self): pass\n")
    with pytest.raises(
        ModelFailed, match="blue_parts:Blue has no needs_nms and no name; it needs decode, needs_nms, name"
    ):
        plugins.create(GROUP, BUILT_IN, "blue", needs=["decode", "needs_nms", "name"])


def test_two_packages_with_the_same_part_are_both_named(install: Install) -> None:
    install("blue-parts", "blue = blue_parts:Blue")
    install("sky-parts", "blue = sky_parts:Blue")
    with pytest.raises(ModelFailed, match=r"blue-parts 1\.2 and sky-parts 1\.2 both offer 'blue'"):
        plugins.find(GROUP, BUILT_IN, "blue")


def test_a_built_in_part_that_is_not_there_is_a_fault_of_ours_and_looks_like_one() -> None:
    with pytest.raises(AttributeError, match="NoSuchThing"):
        plugins.find(GROUP, BUILT_IN, "lost")
