"""How the state of the versions names a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from models.store import StoredModel


class ModelReference(BaseModel):
    """Names one bundle in the store. `version` is text that is compared as numbers (1.10 > 1.9)."""

    model_config = ConfigDict(frozen=True)

    organization: str
    project: str
    format: str
    version: str

    @classmethod
    def of(cls, model: StoredModel) -> ModelReference:
        """How the state names a stored model."""
        return cls(**model.identity._asdict())

    def names(self, model: StoredModel) -> bool:
        """Whether this is the name of that model."""
        return (self.organization, self.project, self.format, self.version) == model.identity

    def __str__(self) -> str:
        return f"{self.organization}/{self.project}/{self.format}/{self.version}"
