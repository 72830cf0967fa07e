import pytest

from editenv.strict import read_yaml


def test_values_are_plain_and_keep_their_order():
    text = 'b: [1, 2.5, true, null]\na: {c: word, d: "quoted: yes"}\ne: >-\n  two\n  lines\n'
    expected = {"b": [1, 2.5, True, None], "a": {"c": "word", "d": "quoted: yes"}, "e": "two lines"}
    assert read_yaml(text) == expected
    assert list(read_yaml(text)) == ["b", "a", "e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a key is given twice .*line 1"),
        ("x: {a: 1, a: 2}\n", "a key is given twice"),
        ("1: a\n", "key 1 is no text: put it in quotes"),
        ("on: a\n", "key True is no text"),
        ("a: [1\n", "no valid YAML: .*line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", "no valid YAML: could not determine a constructor"),
        ("a: 2024-13-40\n", "no valid YAML: month must be"),
        ("- 1\n", r"YAML holds \[1\], expected keys and values"),
        ("", "YAML holds nothing"),
        ("a: 1\n---\nb: 1\n", "no valid YAML: expected a single document"),
        ("\x00", "no valid YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=message):
        read_yaml(text)
