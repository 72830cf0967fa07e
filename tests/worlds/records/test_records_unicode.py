"""Texts of every script reach the agent as they stand in the file, byte for byte."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.build import make_env
from editenv.records import read_sessions_file
from editenv.worlds.records.check import check_sessions_file
from tests.worlds.records.handmade import SINGLE, draw_pictures, write_lines

TEXTS = {
    "composed": unicodedata.normalize("NFC", "Ändere die Café-Tür zu Grün"),
    "decomposed": unicodedata.normalize("NFD", "Ändere die Café-Tür zu Grün"),
    "Korean in parts": unicodedata.normalize("NFD", "고양이를 흰색으로 바꿔"),
    "Chinese": "把招牌上的字换成“茶馆”",
    "Arabic": "غيّر لون القطة إلى الأبيض",
    "Hebrew with marks of direction": "\u202bשנה את הצבע ל-red\u202c \u200f!",
    "emoji of several characters": "Add 👩‍🚀 and 🏳️‍🌈 beside 👍🏽",
    "other blanks": "Add\u00a0a\u2009cat\u3000here\u200b",
    "beyond the basic plane": "𝔊𝔯ü𝔫 𓀀",
    "a line separator": "Add a cat\u2028and a dog",
    "a BOM inside": "Add \ufeffa cat",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("escaped", [True, False])
def test_what_the_file_says_is_what_the_agent_reads(tmp_path, name, escaped):
    """Fails where a text is normalised, stripped or cut where JSON Lines has no line break."""
    draw_pictures(tmp_path)
    record = SINGLE | {"instruction": TEXTS[name], "unchanged_objects": [TEXTS[name]]}
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps(record, ensure_ascii=escaped), encoding="utf-8", newline="\n")
    env = make_env(sessions_file=str(path), scorer=None)
    seen, _ = env.reset(seed=0)
    assert seen["instruction"].encode() == TEXTS[name].encode()
    assert env.session.message.meaning.unchanged_objects == (TEXTS[name],)
    assert not check_sessions_file(path).errors


def test_a_picture_may_have_any_name(tmp_path):
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    draw_pictures(tmp_path, {names[0]: (16, 16), names[1]: (32, 16)})
    path = write_lines(tmp_path, [SINGLE | {"image": name} for name in names])
    assert [line.record.image for line in read_sessions_file(path).lines] == names
    env = make_env(sessions_file=str(path), scorer=None, size=16)
    env.reset(seed=0, options={"session": 1})
    assert check_sessions_file(path).sessions == 2


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bytes\.jsonl"):
        read_sessions_file(path)
    assert check_sessions_file(path).errors


@given(st.text(min_size=1, max_size=80).filter(str.strip))
def test_any_text_comes_back(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    for escaped in (True, False):
        line = json.dumps(SINGLE | {"instruction": text}, ensure_ascii=escaped)
        (folder / "text.jsonl").write_bytes(line.encode())
        assert read_sessions_file(folder / "text.jsonl").lines[0].record.instruction == (text,)
