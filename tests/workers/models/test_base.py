"""Loading base models: where from, what is refused, and that they stay as they are."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file

from orchestrator.contracts import InputError
from tests.support.families import make_family
from tests.support.tiny import make_base, make_lease, make_task, make_trial
from workers.models.base import BaseCache, BaseModel, base_fingerprint, load_base
from workers.training.encoding import encode_task
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import TrialRun


def weights_digest(model: torch.nn.Module) -> str:
    """Hash of every weight and buffer, their values bit for bit."""
    whole = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        whole.update(name.encode() + tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def test_a_fingerprint_follows_the_files_that_matter(random_base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(random_base, tmp_path / "copy")
    assert base_fingerprint(str(copy)) == base_fingerprint(str(random_base))
    (copy / "README.md").write_text("a card")
    assert base_fingerprint(str(copy)) == base_fingerprint(str(random_base))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert base_fingerprint(str(copy)) != base_fingerprint(str(random_base))


def test_other_weights_have_another_fingerprint(random_base: Path, tmp_path: Path) -> None:
    assert base_fingerprint(str(make_base(tmp_path / "other", seed=1))) != base_fingerprint(str(random_base))


@pytest.mark.parametrize("missing", ["/nowhere/at/all", "nothing", "a/b/c"])
def test_a_base_that_is_not_there_is_one_sentence(missing: str) -> None:
    with pytest.raises(InputError, match="is not there") as refusal:
        base_fingerprint(missing)
    assert "\n" not in str(refusal.value)
    assert missing in str(refusal.value)


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(InputError, match=r"nobody/nothing@main.*no route to host") as refusal:
        base_fingerprint("nobody/nothing@main")
    assert "\n" not in str(refusal.value)


def test_a_cached_hub_model_needs_no_network(
    random_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--nobody--tiny"
    shutil.copytree(random_base, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert base_fingerprint("nobody/tiny") == commit
    assert base_fingerprint(f"nobody/tiny@{commit}") == commit


def test_a_folder_without_safetensors_is_refused(random_base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(random_base, tmp_path / "copy")
    os.rename(copy / "model.safetensors", copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no \*\.safetensors weights"):
        load_base(str(copy))


def test_a_hub_model_that_is_only_pickled_is_refused_before_it_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [SimpleNamespace(rfilename=name) for name in ("config.json", "pytorch_model.bin")]
    answer = SimpleNamespace(sha="0" * 40, siblings=files)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: answer)
    with pytest.raises(InputError, match=r"nobody/pickled.* has no \*\.safetensors weights"):
        base_fingerprint("nobody/pickled@main")
    files.append(SimpleNamespace(rfilename="model-00001-of-00002.safetensors"))
    assert base_fingerprint("nobody/pickled@main") == "0" * 40


def test_weights_that_are_not_all_there_are_refused_and_not_made_up(
    random_base: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(random_base, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError, match=r"holds no weights called lm_head\.weight, and they are not made up"
    ):
        load_base(str(copy))


def test_a_decoder_that_begins_with_nothing_is_refused(tmp_path: Path) -> None:
    folder = make_family("t5", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["decoder_start_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="names no decoder_start_token_id"):
        load_base(str(folder))


def test_cut_off_weights_are_refused(random_base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(random_base, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(InputError, match="can't be loaded"):
        load_base(str(copy))


def test_a_cache_keeps_each_form_of_a_base_and_drops_the_oldest(random_base: Path) -> None:
    cache = BaseCache(max_resident=2)
    plain = cache.get(str(random_base), quant="none", dtype="float32")
    half = cache.get(str(random_base), quant="none", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert cache.get(str(random_base), quant="none", dtype="float32") is plain
    cache.get(str(random_base), quant="nf4", dtype="float32")
    assert cache.get(str(random_base), quant="none", dtype="float32") is plain
    assert cache.get(str(random_base), quant="none", dtype="bfloat16") is not half


@pytest.mark.parametrize("quant", ["none", "int8", "nf4"])
def test_training_leaves_the_base_bit_identical(random_base: Path, quant: str) -> None:
    base = load_base(str(random_base), quant=quant)
    before, modules = weights_digest(base.model), [type(module) for module in base.model.modules()]
    task = make_task()
    trial = make_trial(random_base, task, config={"quant": quant})
    run = TrialRun(
        make_lease(trial).trial,
        Hyperparameters.from_config(trial.config),
        base,
        encode_task(base.tokenizer, task, max_length_tokens=64),
    )
    run.train_epoch()
    assert weights_digest(base.model) == before
    assert [type(module) for module in base.model.modules()] == modules
    assert not any(weight.requires_grad for weight in base.model.parameters())


def test_a_structure_copy_shares_the_weights(loaded_base: BaseModel) -> None:
    copy = loaded_base.structure_copy()
    ours = {name: weight.data_ptr() for name, weight in copy.named_parameters()}
    assert ours == {name: weight.data_ptr() for name, weight in loaded_base.model.named_parameters()}
    assert copy.model is not loaded_base.model.model
