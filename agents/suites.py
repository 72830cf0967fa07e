"""`editenv suites`: the page of all suites, its figures counted and its filmstrips drawn."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import PIL.Image

from editenv.agents.baselines.oracle import OraclePolicy, studio_turn
from editenv.agents.baselines.reader import ReaderPolicy
from editenv.agents.baselines.trivial import NoopPolicy
from editenv.agents.play import play
from editenv.agents.report.suitefigures import SuiteFigures, suite_figures
from editenv.agents.report.suitepage import suites_page
from editenv.build import make_vector_env
from editenv.configs.schema import SuitesConfig
from editenv.protocols import Observations
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import filmstrip
from editenv.worlds.studio.render import GROUND, INK
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.suites import load_suite, suite_names

_COLORS = 64
_LONGEST_ROW = 6


class _Listener(OraclePolicy):
    """The oracle, which also keeps what was meant, by the number of the session."""

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        super().__init__(envs)
        self.meant: dict[int, list[StudioTurn]] = defaultdict(list)

    def act(self, observations: Observations, memories: list[int]) -> tuple[dict[str, Any], list[int]]:
        for row in memories:
            session = self.envs.sessions[row]
            self.meant[session.index].append(studio_turn(session))
        return super().act(observations, memories)


def suites(config: SuitesConfig) -> list[SuiteFigures]:
    """Measures, and writes suites.md and a folder of pictures, suites.

    Raises:
        ValueError: a setting is not in its range, or a suite is not known.
    """
    for name in ("sessions", "num_envs"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}, expected 1 or more")
    folder = Path(config.out) / "suites"
    folder.mkdir(parents=True, exist_ok=True)
    figures, pictures = [], {}
    for name in suite_names() if config.suites is None else config.suites:
        found, shown = measure_suite(name, config)
        figures.append(found)
        pictures[name] = [f"suites/{path.name}" for path in write_strips(name, shown, folder)]
        print(f"{name}: {found.instructions} instructions, {len(found.unclear)} unclear", flush=True)
    page = suites_page(figures, pictures, _command(config), config.split, config.seed)
    (Path(config.out) / "suites.md").write_text(page, encoding="utf-8")
    print(f"page: {Path(config.out) / 'suites.md'}")
    return figures


def _command(config: SuitesConfig) -> str:
    chosen = "" if config.suites is None else f" 'suites=[{','.join(config.suites)}]'"
    numbers = f"sessions={config.sessions} split={config.split} seed={config.seed}"
    return f"editenv suites {numbers}{chosen} out={config.out}"


def measure_suite(name: str, config: SuitesConfig) -> tuple[SuiteFigures, list[Session]]:
    """A suite's figures, and the sessions that its filmstrip shows; users react where there is room."""
    suite = load_suite(name)
    user = "goal" if suite.max_turns > suite.turns else "replay"
    count = min(config.num_envs, config.sessions)
    envs = make_vector_env(
        num_envs=count, autoreset_mode="Disabled", split=config.split, suite=name, user=user
    )
    numbers = range(config.sessions)
    oracle, reader = _Listener(envs), ReaderPolicy(envs)
    right = play(envs, oracle, numbers, config.seed)
    read = play(envs, reader, numbers, config.seed)
    idle = play(envs, NoopPolicy(envs), numbers, config.seed)
    meant = [oracle.meant[number] for number in numbers]
    figures = suite_figures(suite, meant, right, read, idle, reader.unclear, reader.instructions)
    return figures, right[: config.filmstrip]


def write_strips(name: str, sessions: list[Session], folder: Path) -> list[Path]:
    """Filmstrips in few colours: one of all sessions, or one each where they are long."""
    if not sessions:
        return []
    apart = max(session.turn for session in sessions) > _LONGEST_ROW
    groups = [[session] for session in sessions] if apart else [sessions]
    names = [f"{name}-{number}" for number in range(1, len(groups) + 1)] if apart else [name]
    paths = [folder / f"{each}.png" for each in names]
    for group, path in zip(groups, paths, strict=True):
        in_few_colors(filmstrip(group)).save(path, optimize=True)
    return paths


def in_few_colors(picture: Image) -> PIL.Image.Image:
    """The picture in the studio's own colours, which stay exact, and the most frequent of all others."""
    image = PIL.Image.fromarray(picture)
    counted = sorted(image.getcolors(picture.shape[0] * picture.shape[1]) or [], reverse=True)
    frequent = [color for _, color in counted if isinstance(color, tuple)]
    palette: dict[tuple[int, ...], None] = dict.fromkeys([*INK.values(), *GROUND.values(), *frequent])
    chosen = list(palette)[:_COLORS]
    few = PIL.Image.new("P", (1, 1))
    # A palette that is not full is filled up with black, so the first colour stands for the rest.
    few.putpalette([part for color in chosen + chosen[:1] * (256 - len(chosen)) for part in color])
    return image.quantize(palette=few, dither=PIL.Image.Dither.NONE)
