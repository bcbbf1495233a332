"""All of it: what the pages are given."""

from __future__ import annotations

from ipaddress import ip_network

from appliance.dashboard.access import AccessOfPage
from appliance.dashboard.cameras import CamerasOfPage
from appliance.dashboard.condition import condition
from appliance.dashboard.models import Models
from appliance.dashboard.outbox import Outbox
from appliance.dashboard.pictures import Maker
from appliance.dashboard.readings import Sampler
from appliance.dashboard.seeing import Seeing
from appliance.dashboard.settings import SettingsOfPage
from appliance.dashboard.system import System
from appliance.services import Services
from appliance.vitals import Machine
from models.errors import InvalidInput
from ui.kit.feed import Feed
from ui.ports import Condition, Readings

EVERY = 1.0
"""Seconds between two looks at how the box is."""


class Dashboard:
    """See `ui.ports.Box`."""

    def __init__(self, services: Services) -> None:
        maker = Maker(lambda: services.image_limits)
        self._services = services
        machine = Machine(services.settings.data_folder, accelerators=services.accelerators)
        self._sampler = Sampler(services, services.detecting.recent, machine)
        self.name = services.settings.node_name
        self.cameras = CamerasOfPage(services, services.detecting.recent)
        self.seeing = Seeing(services, services.detecting.recent, maker, self.cameras.name_of)
        self.cameras.on_renamed = self.seeing.recent.poke
        self.models = Models(services)
        self.outbox = Outbox(services, maker, self.seeing.colours)
        self.system = System(services)
        self.settings = SettingsOfPage(services)
        self.access = AccessOfPage(services)
        self.condition: Feed[Condition] = Feed("condition", self._condition, EVERY)
        self.readings: Feed[Readings] = Feed("readings", self._sampler.look, 1.0)

    async def _condition(self) -> Condition:
        await self._sampler.look()
        return condition(self._services, self._services.detecting.recent, self._sampler.vitals)

    async def trust(self, network: str) -> None:
        """Let a network in, and remember it."""
        await self._set_trusted(network, True)

    async def distrust(self, network: str) -> None:
        """Take that back."""
        await self._set_trusted(network, False)

    async def _set_trusted(self, text: str, trusted: bool) -> None:
        services = self._services
        try:
            network = ip_network(text)
        except ValueError as error:
            raise InvalidInput(f"{text[:60]!r} is no network; it should look like 192.168.4.0/24.") from error
        others = [str(each) for each in services.settings.trusted_networks if each != network]
        wanted = [*others, str(network)] if trusted else others
        await services.change_settings({"trusted_networks": wanted})
        self.condition.poke()
