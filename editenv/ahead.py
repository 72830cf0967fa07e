"""Draws the sessions that come next in a process of its own, while the present ones are played."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from editenv.protocols import World


class SessionsAhead:
    """A world whose sessions are drawn before they are asked for; everything else is the world's own.

    Args:
        world: that can be pickled. What its sessions are does not change.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._asked: set[tuple[str, int, int]] = set()
        self._drawn: dict[tuple[str, int, int], Any] = {}
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__]
        paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=paths)
        self._send(world)

    @property
    def pid(self) -> int:
        """Of the process that draws."""
        return self._worker.pid

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def expect(self, split: str, places: Sequence[tuple[int, int]]) -> None:
        """Has sessions drawn, (seed, number) each."""
        new = [(split, *place) for place in places if (split, *place) not in self._asked]
        self._asked.update(new)
        self._send(new)

    def session(self, split: str, seed: int, index: int) -> Any:
        """The session, which may have been drawn already."""
        place = split, seed, index
        if place not in self._asked:
            return self.world.session(*place)
        self._asked.discard(place)
        while place not in self._drawn:
            try:
                # Of our own worker.
                self._drawn |= pickle.load(self._worker.stdout)  # type: ignore[arg-type]
            except (EOFError, OSError):
                # It ended, on the same error perhaps.
                return self.world.session(*place)
        return self._drawn.pop(place)

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._worker.stdin, self._worker.stdout):
            # What is still in a pipe goes with a process that has ended.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._worker.wait()

    def _send(self, value: Any) -> None:
        assert self._worker.stdin is not None
        try:
            pickle.dump(value, self._worker.stdin, pickle.HIGHEST_PROTOCOL)
            self._worker.stdin.flush()
        except OSError:
            # It ended: `session` draws here from now on.
            return


def _draw() -> None:
    """What the process does: a world comes first, then lists of sessions' places."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        world = pickle.load(asked)
        while True:
            pickle.dump({place: world.session(*place) for place in pickle.load(asked)}, out, pickle.HIGHEST_PROTOCOL)
            out.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)


if __name__ == "__main__":
    _draw()
