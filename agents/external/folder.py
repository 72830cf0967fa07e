"""Pictures that were made elsewhere: DIR/{session}/turn_{k}.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editenv.agents.external.editing import ExternalPolicy, Memory
from editenv.protocols import Observations
from editenv.registry import unknown
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.records.pictures import load_picture, picture_size


class FolderPolicy(ExternalPolicy):
    """Answers turn k of a session, from 1, with the picture `path`/{session}/turn_{k}.png.

    {session} is the session's id as scores.jsonl has it, or its number from 0. Scripted sessions are looked through
    before their first turn.

    Args:
        path: the folder.
        intents: "files" takes turn_{k}.txt beside the picture, empty where there is none; or the name of what the
            pictures were made from, as for other policies (`intent_endpoint`, `intent_pictures` too).
        fit: take pictures of another size too, fitted.
        missing: "error", or "keep": the picture before stays, and the turn counts as failed.

    Raises:
        ValueError: the folder is missing or a setting is not known; or, when played, a file is missing, no picture, or
            of another size: names it.
    """

    def __init__(
        self,
        envs: MICEEditVectorEnv,
        path: str,
        fit: bool = False,
        missing: str = "error",
        intents: str = "files",
        intent_endpoint: Mapping[str, Any] | None = None,
        intent_pictures: bool = True,
    ) -> None:
        super().__init__(envs, "instructions" if intents == "files" else intents, intent_endpoint, intent_pictures)
        if not Path(path).is_dir():
            raise ValueError(f"path is {path!r}, which is no folder, expected one of pictures")
        if missing not in ("error", "keep"):
            raise ValueError(unknown("missing", missing, ("error", "keep")))
        self.path, self.files, self.any_size, self.keep = Path(path), intents == "files", fit, missing == "keep"

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[Memory]:
        """As of every external policy, once all files of scripted sessions are known to be there."""
        memories = super().start(observations, seeds)
        if str(self.envs.engine.user.version).startswith("replay"):
            for row, _ in memories:
                for turn in range(self.envs.sessions[row].spec.turn_count):
                    self.picture(self.envs.sessions[row], turn)
        return memories

    def write_intents(self, sessions: Sequence[Session], seeds: Sequence[int]) -> list[str]:
        """The texts beside the pictures, where these are asked for."""
        if not self.files:
            return super().write_intents(sessions, seeds)
        paths = [self.path / self.name(session, session.turn, "txt") for session in sessions]
        return [path.read_text(encoding="utf-8").strip() if path.is_file() else "" for path in paths]

    def edit(self, sessions: Sequence[Session], intents: Sequence[str], seeds: Sequence[int]) -> list[Image | str]:
        """The pictures from their files."""
        names = [self.picture(session, session.turn) for session in sessions]
        missing = [f"{self.path / self.name(one, one.turn, 'png')} is missing" for one in sessions]
        pairs = zip(names, missing, strict=True)
        return [reason if name is None else load_picture(self.path, name) for name, reason in pairs]

    def name(self, session: Session, turn: int, ending: str) -> str:
        """The path below the folder of a turn's file, turns from 0."""
        own = session.spec.id if (self.path / session.spec.id).is_dir() else str(session.index)
        return f"{own}/turn_{turn + 1}.{ending}"

    def picture(self, session: Session, turn: int) -> str | None:
        """The path below the folder of a turn's picture, looked at; None where it is missing and may be."""
        name = self.name(session, turn, "png")
        if not (self.path / name).is_file():
            if self.keep:
                return None
            raise ValueError(
                f"{self.path / name} is missing, expected the picture after turn {turn + 1} of session "
                f"{session.spec.id}, number {session.index} (its folder may have either name)"
            )
        height, width = picture_size(self.path, name)
        if not self.any_size and (height, width) != (self.height, self.width):
            raise ValueError(
                f"{self.path / name} is {width} x {height} pixels, expected {self.width} x {self.height}; "
                "with fit=true pictures of other sizes are fitted"
            )
        return name
