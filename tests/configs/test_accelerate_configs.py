"""`accelerate launch --config_file` reads every configuration that is shipped and means its name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from editenv.agents.unified.model import UnifiedModel

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
EXPECTED = {
    "one_gpu": ("NO", 1, 1),
    "ddp": ("MULTI_GPU", 8, 1),
    "fsdp2": ("FSDP", 8, 1),
    "nodes": ("MULTI_GPU", 16, 2),
}
"""Kind, processes and machines of each."""


def test_every_shipped_configuration_is_known():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_accelerate_reads_it(name):
    """An unknown key is refused by accelerate itself."""
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    found = (str(config.distributed_type.value), config.num_processes, config.num_machines)
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_launch_takes_it(name):
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), "-m", "editenv.cli", "train", "experiment=demo"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert arguments.use_fsdp is (name == "fsdp2")
    assert arguments.training_script == "editenv.cli" and arguments.module
    if name == "fsdp2":
        assert int(arguments.fsdp_version) == 2
        assert arguments.fsdp_transformer_layer_cls_to_wrap in UnifiedModel._no_split_modules
