"""Packages of own logic, installed as a user would install them, but without a network."""

from __future__ import annotations

import configparser
import importlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def installed_into(target: Path, sample: Path) -> Path:
    """Have pip install the one-module package in the folder `sample` into the folder `target`, which is returned."""
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    where = ["--no-index", "--no-deps", "--target", str(target), str(wheel(sample, target))]
    done = subprocess.run([*pip, *where], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return target


def make_importable(site: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed into the folder `site` can be imported for the time of one test; `module` is imported anew."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()


def wheel(sample: Path, folder: Path) -> Path:
    """The sample as a wheel, from what its pyproject.toml says.

    A build backend would have to be downloaded; for files of Python this is all that it does.
    """
    project = tomllib.loads((sample / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    offers = configparser.ConfigParser(delimiters=("=",))
    offers.read_dict(project["entry-points"])
    entry_points = io.StringIO()
    offers.write(entry_points)
    info = f"{name}-{version}.dist-info"
    files = {
        **{path.name: path.read_text(encoding="utf-8") for path in sorted(sample.glob("*.py"))},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: sample\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points.getvalue(),
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path
