"""Settings of the maintenance process."""

import os
from datetime import timedelta
from pathlib import Path

from pydantic import Field

from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.settings import StorageSettings


class MaintenanceSettings(StorageSettings):
    """What is kept and for how long, and what maintenance may take of the machine."""

    retention_days: int | None = Field(None, ge=1, description="Days of events that are kept; all by default.")
    retention_bytes: int | None = Field(
        None, ge=1, description="Bytes of live lake files that are kept, oldest dates dropped first; all by default."
    )
    dead_letter_days: int = Field(30, ge=1, description="Days that refused lines are kept.")
    merge_files_per_date: int = Field(50, ge=2, description="Small files of one date that start a merge.")
    merge_age_seconds: float = Field(300.0, gt=0, description="Age of a flushed file that starts a merge of its date.")
    merge_small_files: int = Field(200, ge=2, description="Small files of a whole table that start a merge.")
    merge_memory_mb: int = Field(512, ge=128, description="Memory of one merge; beyond it the sort uses the disk.")
    audit_seconds: float = Field(3600.0, gt=0, description="Interval of the full audit of the lake.")

    @property
    def merging(self) -> MergePolicy:
        return MergePolicy(
            files_per_date=self.merge_files_per_date,
            flushed_age=timedelta(seconds=self.merge_age_seconds),
            small_files=self.merge_small_files,
        )

    @property
    def retention(self) -> RetentionPolicy:
        return RetentionPolicy(self.retention_days, self.retention_bytes, self.dead_letter_days)

    @property
    def scratch(self) -> Path:
        """Where sorts go that outgrow their memory: one directory below for each process."""
        return self.directory.run / "merging"

    @property
    def resources(self) -> Resources:
        return Resources(memory_mb=self.merge_memory_mb, scratch=self.scratch / str(os.getpid()))
