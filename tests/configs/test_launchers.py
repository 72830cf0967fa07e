"""Hydra's plug-in launchers play the jobs of a sweep in other processes; a job that fails is heard of."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("hydra")
pytest.importorskip("cloudpickle")

LAUNCHER = """
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
import cloudpickle
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict

@dataclass
class Settings:
    _target_: str = "hydra_plugins.spawning.Spawning"

ConfigStore.instance().store(group="hydra/launcher", name="spawning", node=Settings)

def work(blob):
    number, overrides, context, config, task, state = cloudpickle.loads(blob)
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    keys = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
    return cloudpickle.dumps(run_job(task, job, hydra_context=context, **keys))

class Spawning(Launcher):
    def setup(self, *, hydra_context, task_function, config):
        self.given = hydra_context, config, task_function
    def launch(self, job_overrides, initial_job_idx):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            state, jobs = Singleton.get_state(), enumerate(job_overrides)
            blobs = [cloudpickle.dumps((number, words, *self.given, state)) for number, words in jobs]
            return [cloudpickle.loads(blob) for blob in pool.map(work, blobs)]
"""


def test_a_job_that_fails_in_another_process_is_heard_of(tmp_path):
    """Fails where a launcher's job cannot be handed over, or where its error stays in its process."""
    (tmp_path / "plugins" / "hydra_plugins").mkdir(parents=True)
    (tmp_path / "plugins" / "hydra_plugins" / "spawning.py").write_text(LAUNCHER)
    path = os.pathsep.join([str(tmp_path / "plugins"), os.environ.get("PYTHONPATH", os.getcwd())])
    words = ["hydra/launcher=spawning", "policy=noop,nope", "sessions=2", "filmstrip=0", "out=x"]
    run = subprocess.run(
        [sys.executable, "-m", "editenv.cli", "evaluate", "-m", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and "policy 'nope' is not known" in run.stderr, run.stderr[-2000:]
    assert (tmp_path / "x" / "policy-noop" / "summary.json").exists()
