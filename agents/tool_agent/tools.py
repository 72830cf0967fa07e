"""The studio's operations as tools of a language model: names, typed arguments, what a call does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np

from editenv.protocols import World
from editenv.registry import unknown
from editenv.tools_env import Tools
from editenv.types import Image
from editenv.worlds.studio.noun_phrases import new_object, place
from editenv.worlds.studio.operations import OperationParts, apply_operation, operation_parts
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.tasks import EDITS

CELLS = {"cell": ("row", "column"), "second": ("second_row", "second_column")}
"""Arguments by the part of an operation that they name: users say "row 2 column 3"."""
HELP = {
    "row": "row of the object or place, 1 at the top",
    "column": "its column, 1 at the left",
    "second_row": "row of the second place or object",
    "second_column": "its column",
    "background": "color of the background",
    "count": "how many there shall be",
}
LEAVE = "Leave the picture as it is."


def scene_in_words(picture: Image, grid: int) -> str:
    """What a picture shows, for models that read no pictures: "white background; row 1 column 2: a red circle"."""
    (scene,) = parse([picture], grid)
    shown = [f"{scene.background} background"]
    for cell, obj in enumerate(scene.cells):
        if obj is not None:
            looks = obj.attributes()
            if looks["material"] == "plain":
                looks["material"] = ""
            words = "something unreadable" if obj is UNREADABLE else new_object(**looks)
            shown.append(f"{place(cell, scene.grid)}: {words}")
    return "; ".join(shown)


class Tool:
    """An operation as a tool, so that a task of one's own is a tool as soon as it has an operation.

    Its arguments are found by trying: those that change what the operation does somewhere; of them required are those
    without which it does nothing anywhere.

    Attributes:
        name: of the operation, which is its task's.
        arguments: type by name, an integer or a Literal of strings.
        required: names of arguments that cannot be left out.
    """

    def __init__(self, name: str, parts: OperationParts, grid: int) -> None:
        self.name, self.grid = name, grid
        self._parts, needed = _tried(name)
        self.arguments: dict[str, Any] = {}
        self.required: set[str] = set()
        for part, values in zip(parts.names, parts.values, strict=True):
            if part in self._parts and part != "both":
                whole, names = part in CELLS or part == "count", CELLS.get(part, (part,))
                kind = int if whole else Literal[tuple(value for value in values if value is not None)]
                self.arguments |= dict.fromkeys(names, kind)
                if part in needed and not (part == "second" and "both" in self._parts):
                    self.required |= set(names)

    def function(self, answer: Callable[[Any, str, dict[str, Any]], Any]) -> Callable[..., Any]:
        """A method with the types and the docstring in Google's form from which TRL and transformers read a schema.

        Args:
            answer: called with the method's object, the tool's name and the arguments by name.
        """

        def method(self: Any, *values: Any, **arguments: Any) -> Any:
            return answer(self, method.__name__, dict(zip(names, values, strict=False)) | arguments)

        names = sorted(self.arguments, key=lambda name: name not in self.required)
        shape, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
        own = [inspect.Parameter("self", shape)]
        for name in names:
            default = empty if name in self.required else None
            own.append(inspect.Parameter(name, shape, default=default, annotation=self.arguments[name]))
        doc = LEAVE if self.name == "leave" else (inspect.getdoc(EDITS[self.name].operate) or self.name)
        lines = [f"    {name}: {HELP.get(name, f'{name} of the object')}" for name in self.arguments]
        method.__name__, method.__qualname__ = self.name, f"ToolSession.{self.name}"
        method.__doc__ = "\n".join([doc.partition("\n")[0], "", *(["Args:", *lines] if lines else [])])
        method.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        method.__annotations__ = dict(self.arguments)
        return method

    def chosen(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Values by part of the operation.

        Raises:
            ValueError: an argument is missing or unknown, or a place is outside of the grid.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        wrong = [f"has no {name}" for name in given if name not in self.arguments]
        wrong += [f"needs {name}" for name in self.arguments if name in self.required and name not in given]
        wrong += [f"needs {' and '.join(pair)}" for pair in CELLS.values() if len(given.keys() & set(pair)) == 1]
        if wrong:
            raise ValueError(f"{self.name} {wrong[0]}; its arguments are {', '.join(self.arguments) or 'none'}")
        chosen: dict[str, Any] = {"task": self.name}
        for part, names in CELLS.items():
            for name in names:
                if name in given:
                    value = given.pop(name)
                    if type(value) is not int or not 1 <= value <= self.grid:
                        raise ValueError(f"{name} is {value!r}, expected a whole number from 1 to {self.grid}")
                    chosen[part] = chosen.get(part, 0) * self.grid + value - 1
        return chosen | given | ({"both": "second" in chosen} if "both" in self._parts else {})

    def call(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that choose these parts; the inverse of `chosen`."""
        single = "both" in self._parts and not chosen["both"]
        arguments: dict[str, Any] = {}
        for part, value in chosen.items():
            if part not in self._parts or part == "both" or value is None or (part == "second" and single):
                continue
            if part in CELLS:
                row, column = divmod(value, self.grid)
                arguments |= dict(zip(CELLS[part], (row + 1, column + 1), strict=True))
            else:
                arguments[part] = value
        return arguments


class Toolbox:
    """The tools of a world's scenes.

    Args:
        world: of studio scenes.
        names: of the tools that are offered; None for all operations.

    Raises:
        ValueError: the world has no grid of cells, or has no such operation.
    """

    def __init__(self, world: World, names: Sequence[str] | None = None) -> None:
        self._tools = Tools(world, tokens=1)
        self.grid, self.parts, self.max_turns = self._tools.grid, self._tools.parts, self._tools.max_turns
        known = dict(zip(self.parts.names, self.parts.values, strict=True))["task"]
        for name in names or ():
            if name not in known:
                raise ValueError(unknown("tool", name, known))
        self.tools = {name: Tool(name, self.parts, self.grid) for name in (known if names is None else names)}

    def carry_out(
        self, name: str, arguments: Any, pictures: Sequence[Image], scenes: Sequence[Scene]
    ) -> tuple[Scene, Image, str]:
        """The scene and picture after a call, and the operation in words.

        Raises:
            ValueError: there is no such tool, its arguments are wrong, or it can do nothing here; in words for the
                model that called it.
        """
        if name not in self.tools:
            raise ValueError(f"there is no tool {name!r}, expected one of {', '.join(self.tools)}")
        if not isinstance(arguments, Mapping):
            raise ValueError(f"arguments are {arguments!r}, expected values by name")
        action = self.parts.encode(**self.tools[name].chosen(arguments))
        scene, image, words, done = self._tools.result(np.array(action), pictures, scenes)
        if not done:
            raise ValueError(f"{words} is impossible here, or changes nothing")
        return scene, image, words

    def call(self, action: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Name and arguments of the call that an operation is; ValueError where its tool is not offered."""
        chosen = {
            name: values[number]
            for name, values, number in zip(self.parts.names, self.parts.values, action, strict=True)
        }
        tool = self.tools[chosen["task"]]
        return tool.name, tool.call(chosen)


@lru_cache(maxsize=64)
def _tried(name: str) -> tuple[set[str], set[str]]:
    """Parts that change what an operation does on a scene, and those without which it does nothing there."""
    parts = operation_parts(4)
    values = dict(zip(parts.names, parts.values, strict=True))
    circle, sign = SceneObject("circle", "red"), SceneObject("sign", "red", "plain", "open")
    scene = Scene((circle, sign, circle, sign, *[None] * 12), "white")
    places, shapes = ((0, 2), (1, 3), (0, 4), (4, 5)), ("circle", "square", "sign")
    matter: set[str] = set()
    needed = set(parts.names)
    for (cell, second), shape, both in product(places, shapes, (False, True)):
        usual = {"task": name, "cell": cell, "second": second, "both": both, "shape": shape, "color": "green"}
        usual |= {"material": "plain", "text": "exit", "background": "mint", "count": 3}

        def result(part: str, value: Any, usual: Mapping[str, Any] = usual) -> Scene | None:
            operation = parts.decode(parts.encode(**{**usual, part: value}))
            return apply_operation(operation, scene, scene.put(0, None))

        made = result("task", name)
        for part in parts.names[1:]:
            if any(result(part, value) != made for value in values[part]):
                matter.add(part)
            # A look's first value is none.
            if values[part][0] is None and result(part, None) is not None:
                needed.discard(part)
    return matter, needed
