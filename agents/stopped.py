"""How a run ends that something outside of it broke; apart, since the command line tells it in one line."""


class RunStopped(RuntimeError):
    """A run cannot go on; the message says why and where it goes on from when it is started again."""
