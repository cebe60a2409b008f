"""The options of a container, as the engine's client takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from docker.types import DeviceRequest, LogConfig


class Rights(TypedDict, total=False):
    """What a container may do and use."""

    privileged: bool
    user: str
    cap_drop: list[str] | None
    security_opt: list[str]
    runtime: str | None
    network_mode: str | None
    mem_limit: str | None
    environment: dict[str, str]
    device_requests: list[DeviceRequest]


class Options(Rights, total=False):
    """What it may do, what it runs and what it sees."""

    command: list[str]
    entrypoint: list[str]
    init: bool
    healthcheck: dict[str, list[str]]
    volumes: dict[str, dict[str, str]]
    read_only: bool
    tmpfs: dict[str, str]
    log_config: LogConfig
    stdin_open: bool
