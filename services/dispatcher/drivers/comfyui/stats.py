"""What `/system_stats` says about version and devices (PROTOCOL.md §2). Pure."""

from typing import Any

from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.model.runner import Device

_MAX_DEVICES = 64


def version_of(stats: dict[str, Any]) -> str:
    """Version of ComfyUI; empty where it does not say."""
    system = stats.get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    return storable(version)[:64] if isinstance(version, str) else ""


def devices_of(stats: dict[str, Any]) -> tuple[Device, ...]:
    """Its devices."""
    listed = stats.get("devices")
    devices = [device for device in listed if isinstance(device, dict)] if isinstance(listed, list) else []
    return tuple(
        Device(
            name=_text(device.get("name")),
            type=_text(device.get("type")),
            memory_total_bytes=_size(device.get("vram_total")),
            memory_free_bytes=_size(device.get("vram_free")),
        )
        for device in devices[:_MAX_DEVICES]
    )


def _text(value: object) -> str:
    return storable(value)[:200] if isinstance(value, str) else ""


def _size(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0
