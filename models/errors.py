"""Everything that can go wrong, as one family.

A caller that wants to be safe catches `DetectorApplianceError`; foreign errors are mapped to one of these where they
enter (`raise ... from`). The message of each is a sentence for the person in front of the box: what was wrong, and what
would be right.

    DetectorApplianceError
    ├── InvalidInput                what came from outside cannot be used as it is
    │   ├── ImageUnreadable         the bytes or the array are no picture that can be read
    │   └── InputTooLarge           more bytes, pixels or entries than this box accepts
    ├── BundleError                 a model bundle is incomplete, contradictory or unsafe
    ├── NotApplicable               what was asked is not for a model of this kind, with which nothing is wrong
    ├── ModelFailed                 a complete bundle did not load, or did not run
    │   ├── RuntimeMissing          the library or the accelerator that the weights need is not on this box
    │   └── OutputsImplausible      the model ran and returned something that cannot be right (NaN, wrong shape)
    ├── UnknownVersion              no such model version on this box
    ├── DetectionUnavailable        no detection now; a later one may work
    │   ├── NoModel                 no model is loaded
    │   ├── ModelUpdating           the old model was freed and the new one is not ready yet
    │   ├── Overloaded              the queue is full, or the request waited too long in it
    │   └── WorkerLost              the worker died or hung, and so did the one that took over
    ├── StorageRefused              nothing was stored
    │   └── NoRoom                  the disk, or the bound set for it, is full
    ├── LoopError                   the Learning Loop did not do what was asked
    │   ├── LoopUnreachable         no connection, no answer in time, or an answer that is none of a Loop's
    │   ├── LoopBusy                it asks to come again later: 408, 429 or 5xx
    │   ├── LoginFailed             user name or password are not accepted
    │   ├── NotInLoop               it has no such thing: 404
    │   ├── AlreadyInLoop           it has this already: 409
    │   └── LoopRefused             it does not want this: any other status, 422 above all
    ├── AccessDenied                who asks may not do this
    │   ├── WrongPassword           the password, or the one-time code, is not the right one
    │   └── TooManyTries            too many wrong ones came from there lately
    └── SettingsInvalid             the configuration contradicts itself or names what does not exist
"""

from __future__ import annotations


class DetectorApplianceError(Exception):
    """Root of the tree; its message is a sentence that can be shown as it is."""


class InvalidInput(DetectorApplianceError):
    """What came from outside cannot be used as it is."""


class ImageUnreadable(InvalidInput):
    """The bytes or the array are no picture that can be read."""


class InputTooLarge(InvalidInput):
    """More bytes, pixels or entries than this box accepts."""


class BundleError(DetectorApplianceError):
    """A model bundle is incomplete, contradictory or unsafe."""


class NotApplicable(DetectorApplianceError):
    """What was asked is not for a model of this kind, with which nothing is wrong."""


class ModelFailed(DetectorApplianceError):
    """A complete bundle did not load, or did not run."""


class RuntimeMissing(ModelFailed):
    """The library or the accelerator that the weights need is not on this box."""


class OutputsImplausible(ModelFailed):
    """The model ran and returned something that cannot be right: NaN, or a shape that its head does not know."""


class UnknownVersion(DetectorApplianceError):
    """No such model version on this box."""


class DetectionUnavailable(DetectorApplianceError):
    """No detection now; a later one may work. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoModel(DetectionUnavailable):
    """No model is loaded."""


class ModelUpdating(DetectionUnavailable):
    """The old model was freed and the new one is not ready yet."""


class Overloaded(DetectionUnavailable):
    """The queue is full, or the request waited too long in it."""


class WorkerLost(DetectionUnavailable):
    """The inference worker died or hung, and so did the one that took over."""


class StorageRefused(DetectorApplianceError):
    """Nothing was stored."""


class NoRoom(StorageRefused):
    """The disk, or the bound that was set for it, is full."""


class LoopError(DetectorApplianceError):
    """The Learning Loop did not do what was asked. `status` is that of its answer; None where there was none."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class LoopUnreachable(LoopError):
    """No connection, no answer in time, or an answer that is none of a Learning Loop's."""


class LoopBusy(LoopError):
    """It asks to come again later (408, 429, 5xx); `retry_after` is in seconds, None where it did not say."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class LoginFailed(LoopError):
    """User name or password are not accepted."""


class NotInLoop(LoopError):
    """It has no such thing (404)."""


class AlreadyInLoop(LoopError):
    """It has this already (409); `id` is what it calls that, None where it did not say."""

    def __init__(self, message: str, status: int | None = None, id: str | None = None) -> None:
        super().__init__(message, status)
        self.id = id


class LoopRefused(LoopError):
    """It does not want this: any other status, 422 above all. The message holds the Loop's own words."""


class AccessDenied(DetectorApplianceError):
    """Who asks may not do this."""


class WrongPassword(AccessDenied):
    """The password, or the one-time code, is not the right one."""


class TooManyTries(AccessDenied):
    """Too many wrong passwords or codes came from there lately; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 60.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SettingsInvalid(DetectorApplianceError):
    """The configuration contradicts itself or names what does not exist."""
