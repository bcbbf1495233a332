"""A project of its own for one story, with pictures that differ from all others of the test run."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from tests.service.loop_server.conftest import ELSEWHERE
from tests.service.loop_server.pictures import Parts, jpeg, metadata, pair
from tests.service.running_loop import RunningLoop

COUNT = itertools.count(1000)
"""Of pictures and names that nobody else has: tests that say numbers by hand say small ones."""


class Shop:
    """A project of its own for one story."""

    def __init__(self, loop: RunningLoop, *categories: str) -> None:
        self.loop = loop
        self.name = f"shop-{next(COUNT)}"
        self.path = f"/api/acme/projects/{self.name}"
        made = loop.http.post(
            "/api/acme/projects",
            json={"project_name": self.name, "categories": [{"name": name} for name in categories]},
        )
        assert made.status_code == 200, made.text
        self.categories = {category["name"]: category["id"] for category in made.json()["categories"]}

    def upload(self, parts: Parts, **options: Any) -> httpx.Response:
        return self.loop.client(ELSEWHERE).post(f"{self.path}/images", files=parts, **options)

    def add(self, number: int = 1, **given: Any) -> list[str]:
        """Upload pictures that differ; their ids."""
        parts: Parts = []
        for _ in range(number):
            unique = next(COUNT)
            parts += pair(f"image_{unique}", jpeg(unique), metadata(**given))
        answer = self.upload(parts)
        assert answer.status_code == 200, answer.text
        ids: list[str] = answer.json()["image_ids"]
        assert len(ids) == number
        return ids

    def ids(self, **query: str) -> list[str]:
        answer = self.loop.http.get(f"{self.path}/data", params=query)
        assert answer.status_code == 200, answer.text
        found: list[str] = answer.json()["image_ids"]
        return found

    def image(self, image_id: str, **query: str) -> dict[str, Any]:
        answer = self.loop.http.get(f"{self.path}/images", params={"ids": image_id, **query})
        [found] = answer.json()["images"]
        return dict(found)

    def picture(self, image_id: str) -> httpx.Response:
        return self.loop.http.get(f"{self.path}/images/{image_id}/main")

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.loop.http.get(self.path).json()["images"]
        return found
