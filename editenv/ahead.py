"""Draws the sessions that come next in a process of its own, while the present ones are played."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
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
        paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, str(theirs.fileno())]
        self._worker = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=paths)
        theirs.close()
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
                self._drawn |= self._pipe.recv()
            except (EOFError, OSError):
                # It ended, on the same error perhaps.
                return self.world.session(*place)
        return self._drawn.pop(place)

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._worker.wait()

    def _send(self, value: Any) -> None:
        try:
            self._pipe.send(value)
        except OSError:
            # It ended: `session` draws here from now on.
            return


def _draw() -> None:
    """What the process does: a world comes first, then lists of sessions' places."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(int(sys.argv[1]))
    try:
        world = pipe.recv()
        while True:
            drawn = {place: world.session(*place) for place in pipe.recv()}
            for session in drawn.values():
                _ = session.id  # studio sessions keep it, and so it is made here
            pipe.send(drawn)
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    _draw()
