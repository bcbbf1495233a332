"""The loop's users, for those who administrate it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, SecretStr

from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from appliance.loop_server.users import Role, User


class NewUser(BaseModel):
    """Body of `POST /api/users`."""

    name: str
    password: SecretStr
    role: Role = "user"


class NewPassword(BaseModel):
    """Body of `PUT /api/users/{name}/password`."""

    password: SecretStr


class UserAnswer(BaseModel):
    """What is told of a user."""

    name: str
    role: Role
    created: str


class UsersAnswer(BaseModel):
    """Answer of `GET /api/users`."""

    users: list[UserAnswer]


def router(services: LoopServices) -> APIRouter:
    """`/api/users`."""
    routes = APIRouter(prefix="/api/users", tags=["users"], route_class=WholeBody)

    @routes.get("")
    async def list_users() -> UsersAnswer:
        """Everybody who can log in."""
        return UsersAnswer(users=[_answer(user) for user in services.users.all()])

    @routes.post("")
    async def create(body: NewUser) -> UserAnswer:
        """Make a user; `admin` may also make users, `user` everything else."""
        return _answer(await services.users.create(body.name, body.password.get_secret_value(), body.role))

    @routes.put("/{name}/password")
    async def set_password(name: str, body: NewPassword) -> dict[str, str]:
        """Give a user another password; that ends all sessions of that user."""
        await services.users.set_password(name, body.password.get_secret_value())
        return {}

    @routes.delete("/{name}")
    async def remove(name: str) -> dict[str, str]:
        """Take a user away; that ends all sessions of that user."""
        await services.users.remove(name)
        return {}

    return routes


def _answer(user: User) -> UserAnswer:
    return UserAnswer(name=user.name, role=user.role, created=user.created)
