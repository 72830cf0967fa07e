"""A turn in words."""

from editenv.worlds.studio.speaking import plain_proposal as plain_request
from editenv.worlds.studio.speaking import speak as realize

__all__ = ["plain_request", "realize"]
