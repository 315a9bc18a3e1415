"""Workloads that are classes with dbworkload's interface, under labkit's schedules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from labkit.workload.adapter import load_class
from labkit.workload.base import Balancers, Workload
from labkit.workload.worker import WorkerConfig


@dataclass(frozen=True, kw_only=True)
class ClassWorkload(Workload):
    """A workload that runs the class of a file, such as those of `workloads/`, in every region.

    Each function of its loop is an operation, whose kind is the function's name. labkit does not
    know what the functions do, so it measures them and audits nothing. `TradingWorkload` is also
    audited.

    Attributes:
        file: a Python file with a class of the same name, as dbworkload takes it.

    Raises:
        BadInput: a number is out of range, or the file has no such class.
    """

    file: Path | str

    def __post_init__(self) -> None:
        super().__post_init__()
        load_class(Path(self.file))

    def _config(self, config: WorkerConfig, cluster: Balancers) -> WorkerConfig:
        return replace(config, class_file=str(Path(self.file).resolve()))
