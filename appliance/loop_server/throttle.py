"""The throttle of `appliance.throttle`, under the name that it had here."""

from appliance.throttle import Throttle

__all__ = ["Throttle"]
