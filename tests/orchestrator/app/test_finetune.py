from functools import partial
from pathlib import Path

import pytest

from orchestrator.app import finetune as finetuning
from orchestrator.app.finetune import finetune
from orchestrator.app.sweep import run_sweep
from orchestrator.metadataset.reader import MetaDatasetReader
from tests.support.tuning import CONFIGS, TASK, write_plan


def test_each_label_has_the_best_epoch_of_its_config_and_a_config_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "run_sweep", partial(run_sweep, in_process=True))
    like = write_plan(tmp_path / "out", [(0, 1)]).like
    configs = {"recommended": CONFIGS[1], "default": CONFIGS[0], "again": CONFIGS[1]}
    root = tmp_path / "root"
    results = finetune(TASK, configs, root=root, like=like, epochs=3)
    curves = MetaDatasetReader(root).curves()
    assert len(curves) == 6
    assert [result.label for result in results] == ["recommended", "default", "again"]
    assert sorted({result.eval_loss for result in results}) == sorted(
        curves.groupby("trial_id")["eval_loss"].min()
    )
    for result in results:
        row = curves.loc[curves["eval_loss"] == result.eval_loss].iloc[0]
        assert (result.epoch, result.test_loss) == (row["epoch"], row["test_loss"])
    assert results[0].eval_loss == results[2].eval_loss
