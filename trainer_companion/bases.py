"""Models to begin with: bundles of this program, and weights that others have trained.

A base model is a folder with `network.pt`, or with one file of weights from elsewhere (`.safetensors`, `.pth`, `.pt`,
`.bin`), and a `model.json` that says its categories. Loads no PyTorch: the node looks at them, too.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from models.bundle import MODEL_JSON, bundle_files, read_document
from models.bundle_format import ModelJson
from models.bundle_zip import unpack
from models.errors import BundleError, InvalidInput
from models.files import FILE_SYSTEM, FileSystem, refusal

OWN_WEIGHTS = "network.pt"
"""What bundles of format `appliance_pytorch` call them."""

FOREIGN = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Base:
    """`model` is what its model.json says, `weights` the file that they are read from."""

    folder: Path
    model: ModelJson
    weights: Path

    @property
    def architecture(self) -> dict[str, object]:
        """What its network is built from. Raises `BundleError` where only its weights are known."""
        inference = self.model.inference
        found = (inference.model_extra or {}).get("architecture") if inference is not None else None
        if not isinstance(found, dict):
            raise BundleError(
                "The base model does not say its architecture; name a variant, or take another base model."
            )
        return dict(found)


def open_base(folder: Path) -> Base:
    """The base model in a folder. Blocks. Raises `BundleError` with what is missing."""
    try:
        model = ModelJson.model_validate(read_document(folder))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "model.json"
        raise BundleError(f"model.json of the base model cannot be understood: {where}: {first['msg']}") from error
    own = folder / OWN_WEIGHTS
    if own.is_file():
        return Base(folder, model, own)
    foreign = [path for path in bundle_files(folder) if path.suffix in FOREIGN]
    if not foreign:
        raise BundleError(
            f"there is no {OWN_WEIGHTS} in the base model, nor a file of weights from elsewhere ({', '.join(FOREIGN)}); "
            "nothing can be begun with it"
        )
    if len(foreign) > 1:
        raise BundleError(
            f"of {len(foreign)} files of weights in the base model ({', '.join(path.name for path in foreign)}) it is not "
            "said which is meant; leave one"
        )
    return Base(folder, model, foreign[0])


def prepared(given: Path, target: Path, files: FileSystem = FILE_SYSTEM) -> Path:
    """The folder of a base model that came as a folder, a zip, or a bare file of weights; `target` is made for the latter.

    Blocks. Raises `InvalidInput`, `BundleError`, `InputTooLarge`, `StorageRefused`.
    """
    if given.is_dir():
        return given.absolute()
    if not given.exists():
        raise InvalidInput(f"There is no base model {given}.")
    try:
        files.make_folders(target.parent)
        files.remove_tree(target)
        if given.suffix not in FOREIGN:
            unpack(given, target)
            return target
        files.make_folders(target)
        shutil.copyfile(given, target / given.name)
        files.write_atomically(target / MODEL_JSON, b"{}")
    except OSError as error:
        raise refusal(error, "keep the base model") from error
    return target
