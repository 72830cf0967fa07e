"""`accelerate launch --config_file` reads every configuration that is shipped and means its name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin

from editenv.agents.unified import UnifiedModel

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
EXPECTED = {
    "one_gpu": ("NO", 1, 1),
    "ddp": ("MULTI_GPU", 8, 1),
    "fsdp2": ("FSDP", 8, 1),
    "zero2": ("DEEPSPEED", 8, 1),
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
    assert arguments.use_fsdp is (name == "fsdp2") and arguments.use_deepspeed is (name == "zero2")
    assert arguments.training_script == "editenv.cli" and arguments.module
    if name == "fsdp2":
        assert int(arguments.fsdp_version) == 2
        assert arguments.fsdp_transformer_layer_cls_to_wrap in UnifiedModel._no_split_modules
    if name == "zero2":
        assert int(arguments.zero_stage) == 2


def test_the_settings_of_zero2_are_what_deepspeed_would_be_handed():
    """DeepSpeed itself is not asked: accelerate turns the file's settings into its form without it."""
    settings = load_config_from_file(str(FOLDER / "zero2.yaml")).deepspeed_config
    del settings["zero3_init_flag"]
    handed = DeepSpeedPlugin(**settings).deepspeed_config
    assert handed["zero_optimization"]["stage"] == 2
    assert handed["zero_optimization"]["offload_optimizer"]["device"] == "none"
    assert handed["gradient_accumulation_steps"] == 1, "updates_per_iteration counts on every backward's step"
