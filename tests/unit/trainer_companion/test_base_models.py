"""Base models: their weights as far as they fit, and a sentence about how far that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.errors import BundleError
from models.wire.model_information import Category
from networks import bundles
from networks.base import Network, family
from trainer_companion.base_models import Adopted, adopt
from trainer_companion.bases import Base, open_base, prepared

BOLT, NUT, SCREW = (Category(id=f"id-{name}", name=name) for name in ("bolt", "nut", "screw"))


def network(classes: int, seed: int, **architecture: Any) -> Network:
    torch.manual_seed(seed)
    made = family("edge").build({"input_width": 64, "input_height": 64, "width": 0.5, **architecture}, classes)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    return made


def written(folder: Path, made: Network, categories: list[Category]) -> Base:
    bundles.write(folder, made, "edge", categories)
    return open_base(folder)


def adopted(new: Network, base: Base, categories: list[Category]) -> Adopted:
    return adopt(new, base, categories, by_class=(".logits.",))


def test_the_same_network_is_taken_over_whole(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [BOLT, NUT])
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())
    assert result.tensors == result.of
    assert "All" in result.sentence


def test_known_categories_keep_their_rows_and_new_ones_get_a_new_head(tmp_path: Path) -> None:
    old, new = network(2, 1), network(3, 2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    renamed = Category(id="another-id", name="nut")
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [renamed, SCREW, BOLT])
    theirs, mine = old.state_dict(), new.state_dict()
    for name in (name for name in mine if ".logits." in name):
        assert torch.equal(mine[name][0], theirs[name][1])  # nut, by its name
        assert torch.equal(mine[name][2], theirs[name][0])  # bolt, by its id
        assert torch.equal(mine[name][1], before[name][1])  # screw is new
    assert torch.equal(mine["backbone.stem.0.weight"], theirs["backbone.stem.0.weight"])
    assert result.classes == 2
    assert f"{result.tensors} of {result.of} tensors" in result.sentence
    assert "2 of 3 categories" in result.sentence


def test_as_many_other_categories_do_not_get_each_others_rows(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [NUT, BOLT])
    for name in (name for name in new.state_dict() if ".logits." in name):
        assert torch.equal(new.state_dict()[name], old.state_dict()[name].flip(0))


def test_another_network_fits_in_nothing_and_says_so(tmp_path: Path) -> None:
    new = network(2, 2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    old = network(2, 1, backbone="mobilenet_v2", width=1.0)
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [BOLT, NUT])
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state_dict().items())
    assert result.tensors == 0
    assert "another network" in result.sentence


def test_a_base_model_without_weights_is_refused(tmp_path: Path) -> None:
    base = written(tmp_path / "base", network(2, 1), [BOLT, NUT])
    (tmp_path / "base" / bundles.WEIGHTS).unlink()
    with pytest.raises(BundleError, match=r"no network\.pt"):
        open_base(base.folder)


# ── weights of others ───────────────────────────────────────────────────────────────────────────────────────────────


def foreign(folder: Path, name: str, content: Any) -> Base:
    folder.mkdir()
    (folder / "model.json").write_text(
        '{"categories": [{"id": "id-bolt", "name": "bolt"}, {"id": "id-nut", "name": "nut"}]}'
    )
    if name.endswith(".safetensors"):
        save_file(content, folder / name)
    else:
        torch.save(content, folder / name)
    return open_base(folder)


def of_another_program(old: Network) -> dict[str, torch.Tensor]:
    return {f"module.net.{name}": tensor.clone() for name, tensor in old.state_dict().items()}


@pytest.mark.parametrize("name", ["model.safetensors", "best.pth", "wrapped.pt", "averaged.pt"])
def test_weights_of_another_program_are_found_under_their_own_names(tmp_path: Path, name: str) -> None:
    old, new = network(2, 1), network(2, 2)
    content: Any = of_another_program(old)
    if name == "wrapped.pt":
        content = {"epoch": 7, "model": content}
    if name == "averaged.pt":
        content = {"model": of_another_program(network(2, 9)), "ema": {"module": content, "updates": 3}}
    result = adopted(new, foreign(tmp_path / "base", name, content), [BOLT, NUT])
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())
    assert result.tensors == result.of


def test_a_bare_file_of_weights_is_a_base_model_without_categories(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    save_file(of_another_program(old), tmp_path / "weights.safetensors")
    folder = prepared(tmp_path / "weights.safetensors", tmp_path / "job" / "base")
    result = adopted(new, open_base(folder), [BOLT, NUT])
    assert torch.equal(new.state_dict()["backbone.stem.0.weight"], old.state_dict()["backbone.stem.0.weight"])
    assert result.classes == 0
    assert 0 < result.tensors < result.of
    with pytest.raises(BundleError, match="name a variant"):
        _ = open_base(folder).architecture


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    base = foreign(tmp_path / "base", "model.pt", {"model": Trap()})
    with pytest.raises(BundleError, match="is not run here"):
        adopted(network(2, 2), base, [BOLT, NUT])
    assert not ran.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_damaged_file_of_weights_is_refused(tmp_path: Path, name: str) -> None:
    base = foreign(tmp_path / "base", name, of_another_program(network(2, 1)))
    base.weights.write_bytes(base.weights.read_bytes()[:2000])
    with pytest.raises(BundleError, match="cannot be read as weights"):
        adopted(network(2, 2), base, [BOLT, NUT])


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    base = foreign(tmp_path / "base", "model.pt", {"epoch": 3})
    with pytest.raises(BundleError, match="holds no tensors"):
        adopted(network(2, 2), base, [BOLT, NUT])


def test_tensors_of_odd_kinds_are_left_out(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    content = of_another_program(old)
    logits = next(name for name in content if ".logits." in name)
    content[logits] = torch.tensor(3.0)
    stem = next(name for name in content if name.endswith("backbone.stem.0.weight"))
    content[stem] = content[stem].to_sparse()
    result = adopted(new, foreign(tmp_path / "base", "model.pt", content), [BOLT, NUT])
    assert 0 < result.tensors < result.of


def test_of_two_files_of_weights_none_is_guessed(tmp_path: Path) -> None:
    foreign(tmp_path / "base", "a.pt", of_another_program(network(2, 1)))
    (tmp_path / "base" / "b.pth").write_bytes(b"")
    with pytest.raises(BundleError, match=r"a\.pt, b\.pth"):
        open_base(tmp_path / "base")
