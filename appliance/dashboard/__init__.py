"""The box as the pages see it: the services behind the Protocols of `ui.ports`, a file per Protocol."""

from appliance.dashboard.box import Dashboard

__all__ = ["Dashboard"]
