"""Asking the surrogate about a new task: the actor where one runs, this process where none does."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.connection import connected
from orchestrator.app.peft_format import as_peft
from orchestrator.app.roots import existing_spec
from orchestrator.app.serving import endpoint_of
from orchestrator.contracts import Config, InputError, NothingLearnedError, TrainingSettings
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.client import NoActorError, SurrogateClient
from surrogates.metadataset import MetaDataset
from surrogates.plan import Plan
from surrogates.recommender import Recommender
from workers.metafeatures import measure
from workers.models.base import BaseModel, load_base
from workers.tasks.loading import load_task
from workers.tasks.records import Task

RUNS = Path("runs")
"""Where sweeps are looked for that nobody names."""
