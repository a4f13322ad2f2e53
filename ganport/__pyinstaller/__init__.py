"""Hooks that tell PyInstaller what a frozen app needs of ganport. An entry point leads PyInstaller here."""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Return the folders that hold hooks, which is this one."""
    return [str(Path(__file__).parent)]
