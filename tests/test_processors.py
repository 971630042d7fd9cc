"""Processors: those of this process, not those of the machine."""

import os

import pytest

import jaxtwin._processors as module


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 128 processors, 8 of them allowed, and the files of its control group."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(module, "CGROUP", tmp_path)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / {"max": "cpu.max"}.get(name, f"cpu/cpu.cfs_{name}_us")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"max": "max 100000\n"}, 8),
        ({"max": "250000 100000\n"}, 3),
        ({"max": "1000 100000\n"}, 1),
        ({"max": "3200000 100000\n"}, 8),
        ({"quota": "200000\n", "period": "100000\n"}, 2),
        ({"quota": "-1\n", "period": "100000\n"}, 8),
        ({"max": "nonsense"}, 8),
    ],
    ids=str,
)
def test_affinity_within_the_quota_of_the_control_group(machine, files, count):
    machine(**files)
    assert module.processors() == count


def test_without_an_affinity_mask_all_processors_count(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert module.processors() == 128
