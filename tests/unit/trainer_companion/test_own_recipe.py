"""The sample recipe is installed as a user would install it, found by its entry point, and trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bundle import open_bundle
from models.errors import InvalidInput
from networks import bundles
from tests.support.coco_folders import write_squares
from tests.support.sample_packages import installed_into, make_importable
from tests.support.training_sessions import session
from trainer_companion import hyperparameters, recipes
from trainer_companion.cli import main
from trainer_companion.job import Job
from trainer_companion.progress import Best, Warned

SAMPLE = Path(__file__).parents[2] / "samples" / "own_recipe"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_into(tmp_path_factory.mktemp("site"), SAMPLE)


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_importable(site, "large_things", monkeypatch)


def test_without_the_package_the_variant_is_unknown() -> None:
    with pytest.raises(InvalidInput, match=r"no variant 'large-things-96'; known are edge-residual-128, "):
        recipes.recipe_of(Job(dataset=Path(), variant="large-things-96"))


@pytest.mark.usefixtures("installed")
def test_its_variants_are_offered_beside_the_built_in_ones(capsys: pytest.CaptureFixture[str]) -> None:
    names = [variant.name for variant in recipes.variants()]
    assert "edge-residual-128" in names
    assert "large-things-96" in names
    assert recipes.recipe_of(Job(dataset=Path(), variant="large-things-96")).name == "large_things"
    assert main(["hyperparameters", "--recipe", "large_things"]) == 0
    assert "smallest" in capsys.readouterr().out


@pytest.mark.usefixtures("installed")
def test_it_leaves_out_small_things_and_leaves_a_model(tmp_path: Path) -> None:
    recipe = recipes.recipe("large_things")
    given = {"epochs": 1, "smallest": 0.25, "max_batch_size": 6}
    of = session(write_squares(tmp_path / "set", 24), tmp_path / "job", variant="large-things-96")
    of.hyperparameters = hyperparameters.parse(recipe.hyperparameters, given)
    boxes = [picture.boxes / 64 for picture in of.dataset.pictures]
    small = sum(int(((each[:, 2:] - each[:, :2]).max(1) < 0.25).sum()) for each in boxes)
    assert 0 < small < sum(map(len, boxes))
    done = recipe.train(of)  # the session is copied; what it heard is not
    assert f"they are small: {small} of {sum(map(len, boxes))} boxes" in of.heard(Warned)[0].message
    assert bundles.read(open_bundle(Path(done.bundle))).input.width == 96
    things = sum(counts.tp + counts.fn for counts in of.heard(Best)[-1].confusion_matrix.values())
    held_out = of.dataset.of("test")
    assert things < sum(len(picture.boxes) for picture in held_out)


@pytest.mark.usefixtures("installed")
def test_its_own_hyperparameter_is_checked_like_the_others() -> None:
    with pytest.raises(InvalidInput, match="smallest cannot be 2"):
        hyperparameters.parse(recipes.recipe("large_things").hyperparameters, {"smallest": 2})


BROKEN = {
    "import": ("raise OSError('no library')", "OSError: no library"),
    "constructor": ("class Mine:\n    def __init__(self): raise ValueError('no licence')", "ValueError: no licence"),
    "attributes": ("class Mine: pass", "has no name and no variants"),
    "variants": (
        "class Mine:\n"
        "    name, hyperparameters, takes, train = 'mine', None, None, None\n"
        "    variants = property(lambda self: 1 / 0)",
        "ZeroDivisionError: division by zero",
    ),
    "kind of variants": (
        "class Mine:\n    name, hyperparameters, takes, train, variants = 'mine', None, None, None, ['large']",
        "str is no PretrainedModel",
    ),
}


def offer(site: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a package installed that offers the recipe `mine`, the class `Mine` in `code`."""
    info = site / "mine_recipe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-recipe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{recipes.GROUP}]\nmine = mine_recipe:Mine\n")
    (site / "mine_recipe.py").write_text(code)
    make_importable(site, "mine_recipe", monkeypatch)


@pytest.mark.parametrize(("code", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_left_out_and_said_so(
    code: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    built_in = recipes.variants()
    offer(tmp_path, code, monkeypatch)
    assert recipes.variants() == built_in
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert why in caplog.text and "'mine'" in caplog.text
    assert main(["variants"]) == 0
    said = capsys.readouterr()
    assert "edge-residual-128" in said.out
    assert why in said.err
    assert recipes.recipe_of(Job(dataset=Path(), variant="edge-residual-128")).name == "edge"
    with pytest.raises(InvalidInput, match=r"no variant 'mine-128'; known are edge-residual-128, ") as refused:
        recipes.recipe_of(Job(dataset=Path(), variant="mine-128"))
    assert why in str(refused.value)


def test_a_recipe_that_fails_to_say_what_it_takes_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "class Mine:\n"
        "    name, hyperparameters, train, variants = 'mine', None, None, ()\n"
        "    def takes(self, base): raise KeyError('family')"
    )
    offer(tmp_path, code, monkeypatch)
    with pytest.raises(InvalidInput, match="No recipe can begin with this base model"):
        recipes.recipe_of(Job(dataset=Path(), base=tmp_path))
    assert "'mine' cannot be used, as its takes failed: KeyError: 'family'" in caplog.text
