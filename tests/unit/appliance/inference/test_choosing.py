"""The way to run a model: measured once on this box, and again when something has changed that matters."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.inference.choosing import Chooser, Ways
from models.bundle import Bundle, open_bundle
from models.bundle_format import ModelJson
from models.errors import ModelFailed
from models.fastest import Measured
from models.runtimes.base import Choice
from tests.support.fake_runtime import Socket
from tests.support.fake_workers import a_bundle
from tests.support.held_threads import Held, HeldFiles
from tests.support.small_bundles import make_bundle

TPU, SLOW, FAST = "coral/edgetpu/1", "coral/cpu/1", "coral/cpu/2"
CORAL = (("coral", "edgetpu"), ("coral", "cpu"))


class Stopwatch:
    """Measures what a test says: text of a choice -> milliseconds, or the reason why it is out of question."""

    def __init__(self, times: Mapping[str, float | str]) -> None:
        self.times = dict(times)
        self.measured: list[str] = []
        """What was asked for, each time."""

    async def __call__(self, bundle: Bundle, cache: Path, wanted: str, deadline: float) -> list[Measured]:
        self.measured.append(wanted)
        return [
            Measured(Choice.parse(text), time) if isinstance(time, float) else Measured(Choice.parse(text), None, time)
            for text, time in self.times.items()
        ]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return with_weights(tmp_path, "1.0")


def with_weights(folder: Path, version: str) -> Bundle:
    """A model whose weights are there, as far as its fingerprint is concerned."""
    bundle = a_bundle(version, *CORAL)
    document = bundle.model.model_dump()
    for weights in document["inference"]["weights"]:
        weights["sha256"] = hashlib.sha256(weights["file"].encode()).hexdigest()
    return Bundle(folder, ModelJson.model_validate(document))


def choose(bundle: Bundle, cache: Path, stopwatch: Stopwatch, wanted: str = "auto") -> Ways:
    """As after a start of the program."""
    return asyncio.run(Chooser(cache, wanted, measure=stopwatch).choose(bundle))


def test_the_fastest_is_taken_and_remembered(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({SLOW: 40.0, FAST: 25.0, TPU: "no Edge TPU is plugged in"})
    ways = choose(bundle, cache, stopwatch)
    assert [str(choice) for choice in ways.choices] == [FAST, SLOW]
    assert [way.reason for way in ways.measured] == [None, None, "no Edge TPU is plugged in"]
    assert ways.lost is None
    assert choose(bundle, cache, stopwatch) == ways
    assert len(stopwatch.measured) == 1


def test_another_model_is_measured(bundle: Bundle, cache: Path, tmp_path: Path) -> None:
    stopwatch = Stopwatch({FAST: 25.0})
    choose(bundle, cache, stopwatch)
    choose(with_weights(tmp_path, "2.0"), cache, stopwatch)
    choose(bundle, cache, stopwatch)
    assert len(stopwatch.measured) == 2


def test_another_setting_is_measured(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({FAST: 25.0})
    choose(bundle, cache, stopwatch)
    choose(bundle, cache, stopwatch, wanted="coral")
    choose(bundle, cache, stopwatch, wanted="coral")
    assert stopwatch.measured == ["auto", "coral"]


def test_a_new_library_is_measured(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({FAST: 25.0})
    choose(bundle, cache, stopwatch)
    Socket.version = "1.1"
    choose(bundle, cache, stopwatch)
    assert len(stopwatch.measured) == 2


def test_another_machine_is_measured(bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was put into another box."""
    stopwatch = Stopwatch({FAST: 25.0})
    choose(bundle, cache, stopwatch)
    monkeypatch.setattr("appliance.inference.choosing.machine", lambda: "riscv64|unheard of|64|3.13.0")
    choose(bundle, cache, stopwatch)
    assert len(stopwatch.measured) == 2


def test_an_accelerator_that_was_plugged_in_is_measured(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({FAST: 25.0})
    choose(bundle, cache, stopwatch)
    Socket.plugged_in.add("edgetpu")
    stopwatch.times[TPU] = 8.0
    assert str(choose(bundle, cache, stopwatch).choices[0]) == TPU


def test_an_accelerator_that_is_gone_is_missed_at_every_start(bundle: Bundle, cache: Path) -> None:
    Socket.plugged_in.add("edgetpu")
    stopwatch = Stopwatch({FAST: 25.0, TPU: 8.0})
    assert choose(bundle, cache, stopwatch).lost is None
    Socket.plugged_in.clear()
    stopwatch.times[TPU] = "no Edge TPU is plugged in"
    for _ in range(2):
        ways = choose(bundle, cache, stopwatch)
        assert (str(ways.lost), [str(choice) for choice in ways.choices]) == (TPU, [FAST])
    assert len(stopwatch.measured) == 2
    Socket.plugged_in.add("edgetpu")
    assert choose(bundle, cache, stopwatch).lost is None
    assert len(stopwatch.measured) == 2


def test_a_gpu_that_is_there_is_not_taken_for_lost(tmp_path: Path, cache: Path) -> None:
    """Weights for `cuda` may be run through TensorRT, which is the same hardware under another name."""
    Socket.plugged_in |= {"cuda", "tensorrt"}
    document = a_bundle("1.0", ("coral", "cuda")).model.model_dump()
    document["inference"]["weights"][0]["sha256"] = "0" * 64
    bundle = Bundle(tmp_path, ModelJson.model_validate(document))
    stopwatch = Stopwatch({"coral/tensorrt/1": 3.0, "coral/cuda/1": 5.0})
    for _ in range(2):
        ways = choose(bundle, cache, stopwatch)
        assert (str(ways.choices[0]), ways.lost) == ("coral/tensorrt/1", None)


def test_a_gpu_that_is_gone_is_missed_under_the_name_that_it_ran_the_model_by(tmp_path: Path, cache: Path) -> None:
    document = a_bundle("1.0", ("coral", "cuda"), ("coral", "cpu")).model.model_dump()
    for weights in document["inference"]["weights"]:
        weights["sha256"] = "0" * 64
    bundle = Bundle(tmp_path, ModelJson.model_validate(document))
    Socket.plugged_in |= {"cuda", "tensorrt"}
    stopwatch = Stopwatch({"coral/tensorrt/1": 3.0, FAST: 25.0})
    choose(bundle, cache, stopwatch)
    Socket.plugged_in.clear()
    stopwatch.times["coral/tensorrt/1"] = "no GPU"
    assert str(choose(bundle, cache, stopwatch).lost) == "coral/tensorrt/1"


def test_nothing_is_measured_where_the_setting_says_everything(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({})
    document = bundle.model.model_dump()
    del document["inference"]["weights"][0]
    only = Bundle(bundle.folder, ModelJson.model_validate(document))
    assert choose(only, cache, stopwatch, wanted="coral/cpu/3") == Ways((Choice("coral", "cpu", 3),))
    assert stopwatch.measured == []


def test_weights_of_one_runtime_compete_even_then(bundle: Bundle, cache: Path) -> None:
    """`coral/cpu/3` may be the float weights or the int8 ones."""
    stopwatch = Stopwatch({"coral/cpu/3/int8.bin": 10.0, "coral/cpu/3/float.bin": 20.0})
    ways = choose(bundle, cache, stopwatch, wanted="coral/cpu/3")
    assert str(ways.choices[0]) == "coral/cpu/3/int8.bin"


def test_where_nothing_works_every_reason_is_told_and_none_is_remembered(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({SLOW: "killed the process that tried it", TPU: "no Edge TPU is plugged in"})
    expected = r"in no way\. coral/cpu/1: killed the process that tried it; coral/edgetpu/1: no Edge TPU is plugged in"
    with pytest.raises(ModelFailed, match=expected):
        choose(bundle, cache, stopwatch)
    stopwatch.times[SLOW] = 40.0  # there was not enough memory, say
    assert str(choose(bundle, cache, stopwatch).choices[0]) == SLOW


def test_a_crash_of_one_way_is_remembered_with_the_others(bundle: Bundle, cache: Path) -> None:
    stopwatch = Stopwatch({SLOW: 40.0, FAST: "killed the process that tried it"})
    for _ in range(2):
        assert [str(choice) for choice in choose(bundle, cache, stopwatch).choices] == [SLOW]
    assert len(stopwatch.measured) == 1


def test_a_runtime_that_cannot_say_what_it_finds_is_measured_all_the_same(
    bundle: Bundle, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Socket.broken = True
    assert str(choose(bundle, cache, Stopwatch({SLOW: 40.0})).choices[0]) == SLOW
    assert "The runtime coral cannot say what it finds on this box: ZeroDivisionError: a driver's bug" in caplog.text


def test_a_bundle_for_a_runtime_that_nobody_has_is_measured_which_says_so(cache: Path, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "model")
    text = (folder / "model.json").read_text().replace('"runtime": "litert"', '"runtime": "abacus"')
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelFailed, match="There is no 'abacus'"):
        choose(open_bundle(folder), cache, Stopwatch({"abacus/cpu/1": "There is no 'abacus'"}))


def test_what_was_measured_is_remembered_by_one_at_a_time(bundle: Bundle, cache: Path) -> None:
    """A model that was called off is followed by another one at once."""
    held = Held()
    chooser = Chooser(cache, "auto", HeldFiles(held, "remember", "runtimes.json"), measure=Stopwatch({FAST: 25.0}))

    async def story() -> None:
        assert not await held.cancelled(chooser.choose(bundle))

    asyncio.run(story())
