"""Trackers are known by name before anything starts, and get pictures and words where they can take them."""

import numpy as np
import pytest

from editenv.agents.watching import trackers as module
from editenv.agents.watching.trackers import Trackers, check_trackers


class Writer:
    def __init__(self):
        self.calls = []

    def add_image(self, name, picture, step, dataformats):
        self.calls.append((name, picture.shape, step, dataformats))

    def add_text(self, name, text, step):
        self.calls.append((name, text, step))


class Callback:
    def __init__(self, writer):
        self.tb_writer = writer


def test_only_trackers_with_a_writer_get_what_numbers_do_not_say():
    writer = Writer()
    trackers = Trackers([object(), Callback(None), Callback(writer)], updates=4)
    trackers.show("sessions", np.zeros((2, 3, 3), np.uint8), 5)
    trackers.say("warning", "look", 6)
    assert writer.calls == [("sessions", (2, 3, 3), 20, "HWC"), ("warning", "look", 24)]


def test_a_tracker_has_to_be_known_and_installed(monkeypatch):
    check_trackers([])
    with pytest.raises(ValueError, match="report_to 'tensorbord' is not known, did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(module, "get_available_reporting_integrations", lambda: ["wandb"])
    check_trackers(["wandb"])
    with pytest.raises(
        ValueError, match="report_to names 'mlflow', whose package is missing; installed: wandb"
    ):
        check_trackers(["wandb", "mlflow"])
