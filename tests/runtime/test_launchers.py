"""Which processes the environment tells of: torchrun, SLURM with and without srun, and contradictions with options."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from panoptic_blend.runtime import launchers
from panoptic_blend.runtime.launchers import Placement, Wanted, await_others, devices_and_nodes, find_placement
from panoptic_blend.runtime.processes import counted
from panoptic_blend.runtime.team import together

Refused = Callable[..., str]

JOB = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "2", "SLURM_NODELIST": "gpu[3-4]"}
TASK = JOB | {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
STEP = TASK | {"SLURM_STEP_ID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}
MEETING = {"MASTER_ADDR": "gpu3", "MASTER_PORT": "1234"}
TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
    **MEETING,
}


def test_a_plain_shell_tells_of_no_tasks() -> None:
    assert find_placement({"HOME": "/root", "MASTER_ADDR": "gpu3"}) is None


def test_tasks_of_torchrun() -> None:
    assert find_placement(TORCHRUN) == Placement("torchrun", 3, 1, 1, 4, 2, "gpu3", 1234)
    assert find_placement(TASK | TORCHRUN) == find_placement(TORCHRUN)  # torchrun inside of a SLURM job


def test_tasks_of_srun() -> None:
    """The port is 15000 + 4567 of the job + 101 for each step, so that two steps of a job do not meet."""
    assert find_placement(STEP) == Placement("SLURM", 5, 1, 1, 8, 4, "gpu3", 15000 + 4567 + 202)
    named = STEP | {"MASTER_ADDR": "head", "MASTER_PORT": "99"}
    assert find_placement(named) == Placement("SLURM", 5, 1, 1, 8, 4, "head", 99)


def test_a_step_may_have_fewer_tasks_than_its_job() -> None:
    fewer = STEP | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "gpu4"}
    found = find_placement(fewer)
    assert found is not None
    assert (found.count, found.per_node, found.address) == (2, 2, "gpu4")


def test_a_job_whose_tasks_srun_may_not_have_started() -> None:
    """A script of sbatch has the same variables in its only process, and so has the shell of `srun --pty bash`."""
    for environment in (TASK, STEP | {"SLURM_JOB_NAME": "bash"}, STEP | {"SLURM_JOB_NAME": "interactive"}):
        found = find_placement(environment)
        assert found is not None
        assert (found.count, found.is_certain) == (8, False)


@pytest.mark.parametrize(
    "environment",
    [
        JOB | {"SLURM_NTASKS": "4"},  # a shell of salloc
        STEP | {"SLURM_STEP_ID": "4294967290"},  # the same, as a step of its own
        STEP | {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {name: value for name, value in STEP.items() if name != "SLURM_NTASKS"},  # as the messages advise
    ],
)
def test_a_process_of_a_job_that_is_no_task(environment: dict[str, str]) -> None:
    assert find_placement(environment) is None


def test_tasks_that_torch_describes() -> None:
    """Some launchers set what torch needs and nothing else; without a local rank there is one task on each node."""
    found = find_placement({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a"})
    assert found is not None
    assert (found.rank, found.local_rank, found.node, found.count, found.per_node) == (1, 0, 1, 2, 1)
    children_of_fabric = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}
    assert find_placement(children_of_fabric) is None


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        (STEP, Wanted(), (4, 2)),
        (STEP, Wanted(devices=4), (4, 2)),
        (TORCHRUN, Wanted(nodes=2), (2, 2)),
        (MEETING | {"NODE_RANK": "0"}, Wanted(devices=3, nodes=2), (3, 2)),
        (MEETING | {"NODE_RANK": "1"}, Wanted(nodes=2), (1, 2)),
    ],
)
def test_the_launcher_is_believed(environment: dict[str, str], wanted: Wanted, expected: tuple[int, int]) -> None:
    assert devices_and_nodes(find_placement(environment), wanted, environment) == expected


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        (
            TASK | {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
            Wanted(2, prefix="train."),
            "train.devices is 2, but SLURM says 1 task on each node; start it with --ntasks-per-node=2, or without "
            "--devices, or let it start its own with `env -u SLURM_NTASKS`",
        ),
        (
            STEP,
            Wanted(4, 3, prefix="train."),
            "train.nodes is 3, but SLURM says 2 nodes; start it with --nodes=3, or without --nodes, or let it start "
            "its own with `env -u SLURM_NTASKS`",
        ),
        (
            TORCHRUN,
            Wanted(devices=8),
            "--devices is 8, but torchrun says 2 tasks on each node; start it with --nproc_per_node=8, or without "
            "--devices",
        ),
        (
            {"NODE_RANK": "1"},
            Wanted(),
            "NODE_RANK is 1, but --nodes is 1; give --nodes, or unset NODE_RANK",
        ),
        (
            {"MASTER_ADDR": "gpu3"},
            Wanted(nodes=2),
            "--nodes is 2, but the environment lacks MASTER_PORT, NODE_RANK; set MASTER_ADDR and MASTER_PORT to those "
            "of the first machine, and NODE_RANK to the number of this one, from 0",
        ),
    ],
)
def test_options_that_contradict(environment: dict[str, str], wanted: Wanted, expected: str, refused: Refused) -> None:
    assert refused(devices_and_nodes, find_placement(environment), wanted, environment) == expected


def test_variables_that_make_no_sense(refused: Refused) -> None:
    assert refused(find_placement, STEP | {"SLURM_STEP_NUM_TASKS": "3"}) == (
        "SLURM has started 3 tasks on 2 nodes; start the same number on each, as with --ntasks-per-node"
    )
    assert refused(find_placement, TORCHRUN | {"WORLD_SIZE": "two"}) == (
        "the environment variable WORLD_SIZE is 'two', not a number; correct or unset it"
    )
    assert "LOCAL_WORLD_SIZE" in refused(find_placement, TORCHRUN | {"LOCAL_WORLD_SIZE": "-1"})
    assert "4 tasks, 8 of them on this node" in refused(find_placement, TORCHRUN | {"LOCAL_WORLD_SIZE": "8"})
    assert "4 tasks, 3 of them on this node" in refused(find_placement, TORCHRUN | {"LOCAL_WORLD_SIZE": "3"})
    assert refused(find_placement, TORCHRUN | {"LOCAL_WORLD_SIZE": "0"})


def test_others_that_do_not_come(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setattr(launchers, "PATIENCE", 0.1)
    alone = Placement("SLURM", 0, 0, 0, 4, 4, "127.0.0.1", 0, is_certain=False)
    assert refused(await_others, alone) == (
        "SLURM_NTASKS is 4, but not all of these tasks have come within 0.1 s; start them with srun, or this process "
        "alone with `env -u SLURM_NTASKS`"
    )


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert counted(None, Wanted(2), cuda) == (2, 1)
    assert counted(None, Wanted(9), torch.device("cpu")) == (9, 1)
    assert refused(counted, None, Wanted(3), cuda) == "--devices is 3, but this machine has only 2; lower it"
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0)
    assert refused(counted, None, Wanted(2), cuda) == (
        "--devices is 2, but this machine has only 0; use --device cpu, or leave out --device cuda"
    )


def test_one_named_device_is_not_several(refused: Refused) -> None:
    def start() -> None:
        with together(Wanted(2), "cpu:0"):
            raise AssertionError("not reached")

    assert refused(start) == "--device cpu:0 is one device; give --device cpu to use 2"
