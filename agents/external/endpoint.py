"""Pictures edited by a model behind an endpoint: OpenAI's `images/edits`, or chat completions that return pictures."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as PILImage

from editenv.agents.episodes import Count
from editenv.agents.external.editing import ExternalPolicy, check_history
from editenv.endpoint import ChatEndpoint, EndpointSettings, endpoint_settings
from editenv.pictures import data_url, opened
from editenv.registry import unknown
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.records.pictures import FORMATS

APIS = ("images", "chat")


class EndpointPolicy(ExternalPolicy):
    """Asks a server for each turn's picture, many sessions side by side, with the retries and limits of a judge.

    An answer without a picture that can be read is an edit that failed. One small picture is edited at the start, so
    that a wrong address, model or key is noticed at once.

    Args:
        base_url, model, settings: of `EndpointSettings`; here a try may take 300 seconds, `temperature`, `max_tokens`
            and `seed` are not sent unless given.
        api: "images" for `images/edits`, "chat" for `chat/completions`.
        history: "last" sends the picture as it is, "all" the source and all pictures since, in order.
        parameters: sent along, such as {size: 1024x1024}.
        check: whether to edit that small picture.
        intents, intent_endpoint, intent_pictures: as for every external policy.

    Raises:
        ValueError: a setting is not known or not in its range.
        ConnectionError: the check failed; says why.
    """

    def __init__(
        self,
        envs: MICEEditVectorEnv,
        base_url: str,
        model: str,
        api: str = "images",
        history: str = "last",
        parameters: Mapping[str, Any] | None = None,
        check: bool = True,
        intents: str = "instructions",
        intent_endpoint: Mapping[str, Any] | None = None,
        intent_pictures: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(envs, intents, intent_endpoint, intent_pictures)
        if api not in APIS:
            raise ValueError(unknown("api", api, APIS))
        self.all_pictures = check_history(history)
        usual = {"timeout": 300.0, "temperature": None, "max_tokens": None, "seed": None}
        known = endpoint_settings({"base_url": base_url, "model": model, **usual, **settings})
        self.endpoint = PictureEndpoint(known, api, dict(parameters or {}))
        if check:
            grey = np.full((256, 256, 3), 128, np.uint8)
            self.endpoint.health(_question("Make the picture brighter.", [grey]))

    def edit(self, sessions: Sequence[Session], intents: Sequence[str], seeds: Sequence[int]) -> list[Image | str]:
        """The server's pictures."""
        shown = [session.pictures if self.all_pictures else session.pictures[-1:] for session in sessions]
        talks = [_question(intent, pictures) for intent, pictures in zip(intents, shown, strict=True)]
        numbers = [seed % 2**31 for seed in seeds]
        answers = self.endpoint.ask(talks, f"edit 1 {self.endpoint.api}", numbers, [read_picture] * len(talks))
        return [str(one.error) if one.text is None else read_picture(one.text) for one in answers]

    def counts(self) -> dict[str, Count]:
        """As of every external policy, and calls of the server without retries and kept answers."""
        return super().counts() | {"edit_calls": self.endpoint.calls}


class PictureEndpoint(ChatEndpoint):
    """An endpoint whose answers are pictures, as data URLs; questions are one message of pictures and a text."""

    most_bytes = 48 << 20

    def __init__(self, settings: EndpointSettings, api: str, parameters: dict[str, Any]) -> None:
        super().__init__(settings)
        self.api, self.parameters = api, parameters

    def _request(self, messages: list[dict[str, Any]], seed: int | None) -> dict[str, Any]:
        request = super()._request(messages, seed)
        return request | {"extra_body": self.parameters} if self.parameters else request

    async def _text(self, client: Any, request: dict[str, Any]) -> str:
        if self.api == "chat":
            completion = await client.chat.completions.create(**request)
            found = _urls(completion.choices[0].message) if completion.choices else []
            told = completion
        else:
            [message] = request["messages"]
            pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
            files = [(f"{n}.png", _bytes(url), "image/png") for n, url in enumerate(pictures)]
            # Chat's parameters that this API has not are sent as they are, where they were asked for.
            more = {name: value for name, value in request.items() if name not in ("model", "messages", "extra_body")}
            told = await client.images.edit(
                model=request["model"],
                prompt=message["content"][-1]["text"],
                image=files[0] if len(files) == 1 else files,
                extra_body=more | request.get("extra_body", {}),
            )
            found = [f"data:image;base64,{one.b64_json}" for one in told.data or () if one.b64_json]
        if not found:
            raise ValueError(f"the server's answer holds no picture: {str(told)[:200]!r}")
        read_picture(found[0])
        # Nothing of the URL but the picture: no key is hidden in base64, where it may stand by chance.
        return f"data:image;base64,{found[0].partition(',')[2]}"


def read_picture(url: str) -> Image:
    """The picture, uint8 [h, w, 3], of a data URL; ValueError where it holds none of FORMATS that can be used."""
    with opened(BytesIO(_bytes(url)), "the answer's picture", FORMATS) as image:
        clear = image.convert("RGBA")
        white = PILImage.new("RGBA", clear.size, "white")
        return np.array(PILImage.alpha_composite(white, clear).convert("RGB"))


def _question(text: str, pictures: Sequence[Image]) -> list[dict[str, Any]]:
    shown = [{"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in pictures]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def _urls(message: Any) -> list[str]:
    """The data URLs of an answer's pictures, which servers put beside its content or among its parts."""
    content, images = message.content, getattr(message, "images", None)
    parts = [*(images if isinstance(images, list) else ()), *(content if isinstance(content, list) else ())]
    urls = [(part.get("image_url") or {}).get("url") for part in parts if isinstance(part, Mapping)]
    return [url for url in urls if isinstance(url, str) and url.startswith("data:")]


def _bytes(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        raise ValueError(f"the picture's URL begins with {url[:30]!r}, expected data in base64")
    return b64decode(data, validate=True)
