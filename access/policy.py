"""The decision who asks and what that one may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from access.asgi import method_of
from access.callers import NOBODY, Caller, Kind, Login, Reason, Recognise
from access.evidence import Evidence
from access.forwarding import forwarded_for
from access.hosts import Network, network_of, parse_address, within
from access.origins import Hosts, known_hosts, page_refusal
from access.refusals import Refusal, WayIn
from access.table import AccessTable, Right
from models.errors import SettingsInvalid

_ONLY = {
    Kind.NODE: frozenset({Right.OPEN, Right.DETECT, Right.NODE}),
    Kind.USER: frozenset(Right) - {Right.ADMINISTRATE},
}
"""What those may who may not do everything, strangers aside."""

_STRANGERS: dict[Reason, str] = {
    Reason.NO_ADDRESS: "No address is known of who asks.",
    Reason.NETWORK: "{address} is in no trusted network; its own is {network} (setting trusted_networks).",
    Reason.PROXY: "The request was forwarded by {address}, which is no trusted proxy (setting trusted_proxies).",
    Reason.FORWARDING: "The proxy at {address} does not say in X-Forwarded-For or Forwarded, in one voice, who asks.",
    Reason.KEY: "The API key is not known here: it is mistyped or was revoked.",
    Reason.KEYS_UNREADABLE: "The API keys of this box cannot be read, so none of them counts; its log says why.",
    Reason.LOGIN: "User name and password are not known here, or the session is over.",
    Reason.TRIES: "Too many wrong passwords came from {address} lately; try again in a minute.",
}


def _no_logins(_evidence: Evidence) -> None:
    return None


def _no_remark() -> str:
    return ""


@dataclass(frozen=True)
class AccessPolicy:
    """The decision: pure, but for `keys`, which says whose API key a text is (None: nobody's), and `recognise`.

    Without `keys` a server has no API keys, and none is looked at; without `trusted_proxies` there is no setting to name one
    with. `remark` is what strangers are told besides the way in, as things stand.
    `allowed_hosts` are further names of this box, with a port where only that port counts; for `own_names` there is the
    function. Raises `SettingsInvalid` for a host that cannot be one.
    """

    table: AccessTable
    way_in: WayIn
    keys: Callable[[str], str | None] | None = None
    trusted_networks: Sequence[Network] = ()
    trusted_proxies: Sequence[Network] | None = None
    allowed_hosts: Iterable[str] = ()
    own_names: Iterable[str] = ()
    open_detection: bool = True
    recognise: Recognise = _no_logins
    remark: Callable[[], str] = _no_remark
    _hosts: Hosts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hosts", known_hosts([*self.own_names, *self.allowed_hosts]))

    def judge(self, scope: Mapping[str, Any]) -> tuple[Caller, Refusal | None]:
        """Who makes this HTTP request or WebSocket handshake, and why it is refused, if it is."""
        evidence = Evidence.of(scope)
        caller = self.caller(evidence)
        method = method_of(scope)
        refusal = page_refusal(method, evidence, self._hosts)
        if refusal is None and not self.permits(caller, self.table.right_to(method, scope["path"])):
            refusal = self.refusal(caller)
        return caller, refusal

    def permits(self, caller: Caller, right: Right) -> bool:
        """Whether the caller has this right."""
        if caller.is_stranger:
            return right is Right.OPEN or (right is Right.DETECT and self.open_detection)
        return caller.kind not in _ONLY or right in _ONLY[caller.kind]

    def allows(self, caller: Caller, event: str) -> bool:
        """Whether the caller may send this Socket.IO event."""
        return self.permits(caller, self.table.right_to_event(event))

    def caller(self, evidence: Evidence) -> Caller:
        """Who asks. Only the address at the other end of the connection itself can be loopback."""
        caller = self._caller_by_address(evidence)
        if not caller.is_stranger:
            return caller
        for text in evidence.presented_keys():
            if self.keys is None:
                break
            try:
                name = self.keys(text)
            except SettingsInvalid:  # the one who keeps the keys has logged it
                return replace(caller, reason=Reason.KEYS_UNREADABLE)
            if name is not None:
                return Caller(Kind.KEY, caller.address, key_name=name)
            caller = replace(caller, reason=Reason.KEY)
        login = self.recognise(evidence)
        if isinstance(login, Login):
            return Caller(login.kind, caller.address, user_name=login.name)
        return caller if login is None else replace(caller, reason=login)

    def refusal(self, caller: Caller) -> Refusal:
        """Why this caller may not do what others may, and who those are."""
        if not caller.is_stranger:
            who = "A user" if caller.kind is Kind.USER else "A node that has logged in without a name"
            return Refusal(Reason.ROLE, f"{who} may not do this; log in as somebody who may.")
        reason = caller.reason or Reason.NO_ADDRESS
        sentence = _STRANGERS[reason].format(address=caller.address, network=network_of(caller.address))
        if reason is Reason.PROXY and self.trusted_proxies is None:
            sentence = f"The request was forwarded by {caller.address}, and no proxy is trusted here."
        return Refusal(reason, self.with_way_in(sentence))

    def with_way_in(self, sentence: str) -> str:
        """What a stranger is told, and after it what helps."""
        return " ".join(filter(None, [sentence, self.way_in.sentence, self.remark()]))

    def _caller_by_address(self, evidence: Evidence) -> Caller:
        peer = parse_address(evidence.peer) if evidence.peer else None
        if peer is None:
            return NOBODY
        address = peer
        if evidence.is_forwarded:
            proxies = self.trusted_proxies or ()
            if not within(peer, proxies):
                return Caller(Kind.STRANGER, str(peer), reason=Reason.PROXY)
            asker = forwarded_for(evidence, proxies)
            if asker is None:
                return Caller(Kind.STRANGER, str(peer), reason=Reason.FORWARDING)
            address = asker
        elif peer.is_loopback:
            return Caller(Kind.LOOPBACK, str(peer))
        if within(address, self.trusted_networks):
            return Caller(Kind.TRUSTED, str(address))
        return Caller(Kind.STRANGER, str(address), reason=Reason.NETWORK)
