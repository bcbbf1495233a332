"""The page of the outbox where thousands wait: what it does costs no more than where ten do, or shows how far it is."""

from __future__ import annotations

import json
import time

import pytest

from appliance.dashboard import Dashboard
from appliance.outbox import folders
from appliance.outbox.folders import Folder
from models.errors import DetectorApplianceError
from tests.service.box import Box
from tests.service.conftest import MakeBox
from ui.ports import LongWork

MANY = 3000


@pytest.fixture(scope="module")
def box(make_box: MakeBox) -> Box:
    return make_box(max_outbox_size=10 * MANY)


def fill(box: Box, folder: Folder, count: int) -> None:
    """Pictures that have waited for long; quicker than saving them one by one."""
    box.services.outbox.clear()
    for number in range(count):
        name = f"2024-01-01_00-{number // 60:02}-{number % 60:02}.000000"
        path = box.data / "outbox" / folder / name
        path.mkdir(parents=True)
        (path / f"image_{name}.jpg").write_bytes(b"a picture")
        (path / f"image_{name}.json").write_text('{"tags": ["uncertain"]}')
        if folder == "rejected":
            (path / folders.REASON).write_text(json.dumps({"reason": "too dark", "queue": "normal"}))
    box.services.outbox.recount()


def work_of(box: Box, dashboard: Dashboard) -> LongWork:
    """What is being done, as every page is told it."""
    work = box.run(dashboard.outbox.feed.now()).work
    assert work is not None
    return work


def test_one_can_leaf_through_all_of_it(box: Box) -> None:
    fill(box, "normal", MANY)
    dashboard = Dashboard(box.services)
    seen: list[str] = []
    place: str | None = None
    while True:
        page = box.run(dashboard.outbox.page("normal", place, 500))
        seen += [each.id for each in page.items]
        place = page.next
        if place is None:
            break
    assert len(seen) == len(set(seen)) == MANY
    assert seen == sorted(seen, reverse=True)
    view = box.run(dashboard.outbox.feed.now())
    assert (view.count("normal"), view.size("normal")) == (MANY, view.bytes)


def test_a_whole_folder_is_deleted_step_by_step_while_the_box_does_its_work(box: Box) -> None:
    fill(box, "rejected", MANY)
    dashboard = Dashboard(box.services)
    deleted = box.services.outbox.tallies()["deleted"]

    box.run(dashboard.outbox.delete_all("rejected"))

    work = work_of(box, dashboard)
    assert (work.kind, work.total) == ("delete", MANY)
    with pytest.raises(DetectorApplianceError, match="not done yet"):
        box.run(dashboard.outbox.delete_all("rejected"))
    seen = {work.done}
    while work.running:
        time.sleep(0.005)
        work = work_of(box, dashboard)
        seen.add(work.done)
    assert len(seen) > 2, "how far it is can be seen on the way"
    assert (work.done, work.error) == (MANY, None)
    assert box.run(dashboard.outbox.feed.now()).rejected == 0
    assert box.services.outbox.tallies()["deleted"] == deleted + MANY
    assert not any((box.data / "outbox" / "rejected").iterdir())


def test_all_rejected_are_put_back(box: Box) -> None:
    fill(box, "rejected", 50)
    dashboard = Dashboard(box.services)
    box.run(dashboard.outbox.retry_all())
    box.wait_until(lambda: not work_of(box, dashboard).running)
    view = box.run(dashboard.outbox.feed.now())
    assert (view.normal, view.rejected) == (50, 0)


def test_many_that_are_picked_are_deleted_at_once(box: Box) -> None:
    fill(box, "normal", 1200)
    dashboard = Dashboard(box.services)
    page = box.run(dashboard.outbox.page("normal", None, 1100))
    names = tuple(each.id for each in page.items)
    assert box.run(dashboard.outbox.delete((*names, names[0], "gone", "../out"))) == 1100
    assert box.run(dashboard.outbox.feed.now()).normal == 100
