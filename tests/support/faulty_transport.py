"""A Loop that is away, or does not want to, when it is asked certain things; else the real one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx


@dataclass
class Fault:
    """What is answered to requests whose method and path match `asked` (`"PUT .*/file"`), `times` times.

    `answer` None: there is no connection.
    """

    asked: str
    answer: Callable[[], httpx.Response] | None = None
    times: int = 1


@dataclass
class FaultyTransport(httpx.AsyncBaseTransport):
    """Counts what was asked, and breaks what it is told to."""

    faults: list[Fault] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    before: Callable[[str], None] | None = None
    """Is told of each request before it is sent."""

    def __post_init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        said = f"{request.method} {request.url.path}"
        self.asked[said] += 1
        if self.before is not None:
            self.before(said)
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.asked, said):
                fault.times -= 1
                if fault.answer is None:
                    raise httpx.ConnectError("Connection refused", request=request)
                await request.aread()
                return fault.answer()
        return await self._real.handle_async_request(request)

    def count(self, asked: str) -> int:
        """How many requests matched."""
        return sum(number for said, number in self.asked.items() if re.fullmatch(asked, said))

    async def aclose(self) -> None:
        await self._real.aclose()
