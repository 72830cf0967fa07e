"""A chat model of transformers as the writer of intents: a tiny random one."""

from __future__ import annotations

import re
from operator import eq

import pytest
import torch
from numpy import asarray, zeros
from PIL.Image import fromarray
from trl.chat_template_utils import qwen2_5_chat_template

from editenv.agents.evaluate import run_evaluation
from editenv.agents.external.chat_model import ChatModel, _shown
from editenv.agents.external.intents import PROMPT, IntentWriter
from editenv.agents.tool_agent.session import tool_sessions
from editenv.configs.compose import compose
from editenv.pictures import data_url
from tests.agents.tool_agent.tiny import save_tiny_model

BLACK = zeros((64, 64, 3), "uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = save_tiny_model(tmp_path_factory.mktemp("chat"), tool_sessions(suite="mixed"))
    (place / "chat_template.jinja").write_text(qwen2_5_chat_template)
    return place


def chat(*words):
    return [{"role": "user" if place % 2 == 0 else "assistant", "content": text} for place, text in enumerate(words)]


def test_answers_are_the_models_likeliest_words_whoever_is_asked_beside(folder):
    model = ChatModel(False, str(folder), batch=2, max_new_tokens=6)
    chats = [chat("add a red star"), chat("add a red star", "done", "now remove it again please"), chat("hm")]
    found = [answer.text for answer in model.ask(chats, "1", [0, 1, 2], [len] * 3)]
    for one, text in zip(chats, found, strict=True):
        ids = model.tokenizer.apply_chat_template(
            one, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = []
        with torch.inference_mode():
            for _ in range(6):  # by hand, a forward a token
                rows = torch.cat([ids["input_ids"], torch.tensor([made], dtype=torch.long)], 1)
                made.append(int(model.model(rows).logits[0, -1].argmax()))
                if made[-1] == model.model.generation_config.eos_token_id:
                    break
        assert text == model.tokenizer.decode(made, skip_special_tokens=True)


def test_an_evaluation_takes_its_intents_from_it(folder, tmp_path):
    pictures = tmp_path / "made"
    (pictures / "0").mkdir(parents=True)
    for turn in range(1, 4):
        fromarray(BLACK).save(pictures / "0" / f"turn_{turn}.png")
    settings = {"path": str(pictures), "intents": "chat", "intent_pictures": False}
    settings["intent_endpoint"] = {"model": str(folder), "max_new_tokens": 5}
    config = compose(
        "evaluate",
        policy="folder",
        suite="mixed",
        sessions=1,
        filmstrip=0,
        save_images=True,
        out=str(tmp_path / "out"),
    )
    config.policy_settings = settings
    found = run_evaluation(config)
    [written], model = [line["intents"] for line in found.lines], ChatModel(False, str(folder), max_new_tokens=5)
    [record] = found.records()
    messages, words = [{"role": "system", "content": PROMPT}], []
    for instruction in record.transcript:
        messages.append({"role": "user", "content": instruction})
        answer = str(model.ask([messages], "1", [0], [len])[0].text).strip()
        words.append(answer or instruction)
        messages.append({"role": "assistant", "content": words[-1]})
    assert written == words and found.facts["failed_intents"] == sum(map(eq, words, record.transcript))


def test_pictures_of_a_message_are_pictures_again():
    parts = [{"type": "image_url", "image_url": {"url": data_url(BLACK)}}, {"type": "text", "text": "hm"}]
    picture, text = _shown({"role": "user", "content": parts})["content"]
    assert picture["type"] == "image" and (asarray(picture["image"]) == BLACK).all() and text == parts[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "nowhere/at-all"}, "model is 'nowhere/at-all', which cannot be loaded"),
        ({"modle": "x"}, "has no setting 'modle', did you mean 'model'"),
        ({"model": "FOLDER", "dtype": "load"}, "dtype is 'load', expected a type of numbers"),
    ],
)
def test_what_is_wrong_is_named(settings, said, folder, tmp_path):
    given = {name: str(folder) if value == "FOLDER" else value for name, value in settings.items()}
    with pytest.raises(ValueError, match=re.escape(said)):
        IntentWriter("chat", given, False, 1000)
