"""Asking the health service of a gateway."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def client(channel: grpc.aio.Channel) -> Any:
    """A client of the health service."""
    return health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]


async def status(channel: grpc.aio.Channel, name: str) -> int:
    """What is said of a name."""
    return int((await client(channel).Check(HealthCheckRequest(service=name))).status)


def watch(channel: grpc.aio.Channel, name: str) -> Any:
    """What is said of a name, again and again."""
    return client(channel).Watch(HealthCheckRequest(service=name))


async def next_of(watching: Any) -> int:
    """The next status that a watch tells."""
    async with asyncio.timeout(10):
        return int((await watching.read()).status)


async def until(channel: grpc.aio.Channel, name: str, wanted: int = SERVING) -> None:
    """Wait until that is said of a name."""
    watching = watch(channel, name)
    while await next_of(watching) != wanted:
        pass
    watching.cancel()
