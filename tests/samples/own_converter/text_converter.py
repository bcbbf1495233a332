"""An own converter in half a page: every text file of a model is written in capitals."""

from __future__ import annotations

import json

from converter_companion.pairs.base import Work
from models.bundle import bundle_files, read_document
from models.errors import BundleError


class TextConverter:
    """Makes format_b of format_a. See `converter_companion.pairs.base.Converter`."""

    source = "format_a"
    target = "format_b"
    compared = False  # neither of the two is a model that this program could run

    def convert(self, work: Work) -> None:
        """Write the model in the other format into `work.out`."""
        texts = [path for path in bundle_files(work.source.folder) if path.suffix == ".txt"]
        if not texts:
            raise BundleError("A model of format_a has at least one text file, and this one has none.")
        for number, path in enumerate(texts):
            work.progress(number / len(texts), f"writing {path.name}")
            (work.out / path.name).write_text(path.read_text(encoding="utf-8").upper(), encoding="utf-8")
        document = {**read_document(work.source.folder), "format": self.target}
        (work.out / "model.json").write_text(json.dumps(document), encoding="utf-8")
