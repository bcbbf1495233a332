"""Which GPU a box has, told by an nvidia-smi that the test writes, or by a Jetson's files."""

from __future__ import annotations

import stat
from importlib import metadata
from pathlib import Path

import pytest

from models.runtimes.nvidia import Gpu, identity, tensorrt_version

ARGUMENTS = '"$1 $2" = "--query-gpu=name,driver_version --format=csv,noheader"'


def smi(folder: Path, script: str) -> str:
    """An nvidia-smi that checks what it is asked, and does what the script says."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n[ {ARGUMENTS} ] || exit 64\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("told", "gpu"),
    [
        ("NVIDIA GeForce RTX 3060, 535.183.01", Gpu("NVIDIA GeForce RTX 3060", "535.183.01")),
        ("NVIDIA H200, 570.86.15\nNVIDIA H200, 570.86.15", Gpu("NVIDIA H200", "570.86.15")),
        ("Quadro, with a comma, 470.1", Gpu("Quadro, with a comma", "470.1")),
        ("", None),
        ("No devices were found", None),
    ],
)
def test_what_nvidia_smi_says(root: Path, tmp_path: Path, told: str, gpu: Gpu | None) -> None:
    assert identity(root, smi(tmp_path, f"cat <<'END'\n{told}\nEND")) == gpu


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed because it could not talk to the driver, which is not loaded.'; exit 9",
        "kill -SEGV $$",
    ],
)
def test_an_nvidia_smi_that_fails_means_no_gpu(root: Path, tmp_path: Path, script: str) -> None:
    assert identity(root, smi(tmp_path, script)) is None


def test_letters_that_are_none_do_no_harm(root: Path, tmp_path: Path) -> None:
    assert identity(root, smi(tmp_path, r"printf 'GPU \377, 1.0\n'")) == Gpu("GPU �", "1.0")


def test_most_boxes_have_no_nvidia_smi(root: Path, tmp_path: Path) -> None:
    assert identity(root, str(tmp_path / "nvidia-smi")) is None


def test_a_jetson_names_itself_in_its_files(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.0, GCID: 37537400\n# KERNEL_VARIANT: oot\n"
    )
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\x00")
    expected = Gpu("NVIDIA Jetson Orin Nano Developer Kit", "# R36 (release), REVISION: 4.0, GCID: 37537400")
    assert identity(root, "no-such-program") == expected


def test_a_jetson_in_a_container_may_lack_one_of_them(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/nv_tegra_release").write_text("# R35 (release), REVISION: 6.1\n")
    assert identity(root, "no-such-program") == Gpu("Jetson", "# R35 (release), REVISION: 6.1")


def test_the_version_of_tensorrt_of_its_package(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    def version(distribution: str) -> str:
        if distribution == "tensorrt-cu12":
            return "10.9.0"
        raise metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(metadata, "version", version)
    assert tensorrt_version(root) == "10.9.0"


def test_the_version_of_tensorrt_of_its_library(root: Path) -> None:
    assert tensorrt_version(root) == "unknown"
    libraries = root / "usr/lib/aarch64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libnvinfer.so", "libnvinfer.so.8", "libnvinfer.so.8.6.2", "libnvinfer_plugin.so.8.6.2"):
        (libraries / name).touch()
    assert tensorrt_version(root) == "8.6.2"
