"""The converter's own settings."""

from __future__ import annotations

import pytest

from converter_companion.settings import ConverterSettings
from models.errors import SettingsInvalid


def test_pairs_and_limits_come_from_the_environment() -> None:
    environ = {
        "CONVERTER_PAIRS": "format_a:format_b, onnx:litert,onnx:litert",
        "PARITY_MAP_LOSS": "0.5",
        "HOME": "/tmp",
    }
    settings = ConverterSettings.load(environ)
    assert settings.pairs == [("format_a", "format_b"), ("onnx", "litert")]
    assert settings.limits.map_loss == 0.5
    assert settings.limits.divided(10).map_loss == pytest.approx(0.05)
    assert settings.port == 8034


@pytest.mark.parametrize("pairs", ["litert", "a:b:c", "onnx:onnx", "Format A:b", ":b"])
def test_what_is_no_pair_is_refused(pairs: str) -> None:
    with pytest.raises(SettingsInvalid, match="no pair of two formats"):
        ConverterSettings.load({"CONVERTER_PAIRS": pairs, "HOME": "/tmp"})
