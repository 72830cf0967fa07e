import json
import subprocess
import sys

import pytest

from editenv.agents.report.summary import summarise, summarise_difference

SCORES = {
    "instruction_following": [[1.0, 0.0], [1.0, 1.0], [1.0, None], [1.0]],
    "rule_kept": [[None, None], [None, 1.0], [None, 0.0], [None]],
}


def test_means_intervals_and_counts_by_hand():
    summary = summarise(SCORES)
    assert summary["instruction_following"] == [1.0, 0.5]
    assert summary["rule_kept"] == [None, 0.5]
    assert summary["intervals"]["instruction_following"] == [[1.0, 1.0], [0.0, 1.0]]
    assert summary["intervals"]["rule_kept"][0] == [None, None]
    assert summary["scored"] == {"instruction_following": [4, 2], "rule_kept": [0, 2]}
    assert summary["sessions"] == 4


def test_a_summary_is_strict_json():
    summary = summarise(SCORES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_no_session_at_all():
    assert summarise({"reward": []}) == {
        "reward": [],
        "intervals": {"reward": []},
        "scored": {"reward": []},
        "sessions": 0,
    }


def test_difference_pairs_the_sessions():
    base = {"reward": [[0.0, 0.0], [1.0, None]], "rule_kept": [[1.0], [1.0]]}
    trained = {"reward": [[1.0, 1.0], [1.0, 1.0]]}
    difference = summarise_difference(base, trained)
    assert difference["reward"] == [0.5, 1.0]
    assert difference["scored"] == {"reward": [2, 1]}
    assert difference["intervals"]["reward"] == [[0.0, 1.0], [None, None]]
    assert "rule_kept" not in difference and difference["sessions"] == 2


def test_different_sessions_are_refused():
    with pytest.raises(ValueError, match="sessions: got 1 of base and 2 of trained"):
        summarise_difference({"reward": [[1.0]]}, {"reward": [[1.0], [0.0]]})
    with pytest.raises(ValueError, match="scores: got sessions"):
        summarise({"reward": [[1.0]], "rule_kept": []})


def test_reporting_imports_neither_torch_nor_trl():
    code = (
        "import sys, editenv.agents.report.table, editenv.agents.report.curves;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'trl', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
