"""The deep-kernel process: its posterior against a plain one, and what a new task's points change."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from orchestrator.contracts import InputError
from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.score_table import build_table
from surrogates.deepkernel.examples import Examples
from surrogates.deepkernel.inputs import Columns, tensor
from surrogates.deepkernel.model import DeepKernelModel
from surrogates.deepkernel.process import DeepKernelProcess
from tests.surrogates.synthetic import World, make

WORLD = World(tasks=5, configs=16, epochs=3, seed=2)


@lru_cache
def learned() -> tuple[DeepKernelModel, Array, Array]:
    meta = make(WORLD)
    encoder, table = ConfigEncoder(meta.space), build_table(meta)
    features = FeatureEncoder.fitted([task.features for task in meta.tasks])
    past = features.encode([task.features for task in meta.tasks])
    configs = encoder.encode([meta.configs[key] for key in table.config_ids])
    return DeepKernelModel.fit(configs, past, table, seed=0, most_steps=40), configs, past[0]


def first_scores(model: DeepKernelModel, configs: Array, features: Array) -> tuple[Array, Array]:
    fidelities = model.encoder.fidelities
    nothing = np.full((len(configs), fidelities), np.nan)
    return model.answer(model.ask(configs, features, nothing, np.zeros(len(configs), dtype=np.int64)))


def test_the_posterior_is_the_textbook_one() -> None:
    model, _, _ = learned()
    process: DeepKernelProcess = model.process
    inputs, scores = model.past
    few, answers = inputs.rows(torch.arange(12)), scores[:12]
    asked = inputs.rows(torch.arange(12, 20))
    mean, variance = process.given(few, answers).predict(asked)
    with torch.no_grad():
        points = process.extractor(few.followed_by(asked)).numpy()
        noise = process.noise(few.followed_by(asked)).numpy()
        scale = float(process.kernel.outputscale)
        length = float(process.kernel.base_kernel.lengthscale)
        constant = float(process.mean.constant)
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    covariance = scale * np.exp(-0.5 * squares / length**2)
    known = covariance[:12, :12] + np.diag(noise[:12])
    gain = np.linalg.solve(known, covariance[:12, 12:]).T
    expected = constant + gain @ (answers.numpy() - constant)
    left = np.diag(covariance)[12:] - np.einsum("ij,ji->i", gain, covariance[:12, 12:]) + noise[12:]
    assert np.allclose(mean.numpy(), expected, atol=1e-6)
    assert np.allclose(variance.numpy(), left, atol=1e-6)


def test_the_likelihood_is_the_textbook_one() -> None:
    model, _, _ = learned()
    inputs, scores = model.past
    few, answers = inputs.rows(torch.arange(15)), scores[:15]
    with torch.no_grad():
        told = float(model.process.log_likelihood(few, answers))
        covariance = model.process.kernel(model.process.extractor(few)).to_dense()
        covariance = (covariance + torch.diag(model.process.noise(few))).numpy()
        gaps = answers.numpy() - float(model.process.mean.constant)
    plain = -0.5 * gaps @ np.linalg.solve(covariance, gaps) - 0.5 * np.linalg.slogdet(covariance)[1]
    assert told == pytest.approx((plain - 7.5 * np.log(2 * np.pi)) / 15, rel=1e-6)


@pytest.mark.parametrize("way", ["conditioned", "refitted"])
def test_what_is_seen_of_some_configs_moves_what_is_told_of_others(way: str) -> None:
    model, configs, features = learned()
    before, _ = first_scores(model, configs, features)
    seen = np.repeat(np.arange(8), 3)
    nothing = np.full((len(seen), model.encoder.fidelities), np.nan)
    questions = model.ask(configs[seen], features, nothing, np.zeros(len(seen), dtype=np.int64))
    low = getattr(model, way)(questions, before[seen] - 2.0)
    after, _ = first_scores(low, configs, features)
    assert (after - before)[:8].mean() < -0.5
    assert (after - before)[8:].mean() < -0.2
    again, _ = first_scores(model, configs, features)
    assert np.array_equal(again, before), "the model asked before has changed"


def test_refitting_changes_weights_of_a_copy_and_conditioning_changes_none() -> None:
    model, configs, features = learned()
    nothing = np.full((4, model.encoder.fidelities), np.nan)
    questions = model.ask(configs[:4], features, nothing, np.zeros(4, dtype=np.int64))
    assert model.conditioned(questions, np.zeros(4)).process is model.process
    own = model.refitted(questions, np.zeros(4)).process
    pairs = zip(own.parameters(), model.process.parameters(), strict=True)
    assert any(not torch.equal(new, old) for new, old in pairs)


def test_held_out_examples_share_no_task_with_those_trained_on() -> None:
    meta = make(WORLD)
    table = build_table(meta)
    configs = np.random.default_rng(0).normal(size=(len(table.config_ids), 2))
    examples = Examples.of(configs, np.zeros((5, 0)), table)
    train, held = examples.split(np.random.default_rng(0))
    assert not set(train.task) & set(held.task)
    assert len(train) + len(held) == len(examples)
    assert len(held) > 0


def test_a_prefix_ends_before_the_score_that_is_asked_for() -> None:
    meta = make(WORLD)
    table = build_table(meta)
    configs = np.zeros((len(table.config_ids), 1))
    examples = Examples.of(configs, np.zeros((5, 0)), table)
    for seed in range(5):
        lengths = examples.mixed_lengths(np.random.default_rng(seed))
        questions, scores = examples.questions(lengths)
        later = np.arange(3) >= questions.fidelities[:, None]
        assert np.isnan(questions.prefixes[later]).all()
        assert np.array_equal(scores, table.scores[examples.task, examples.config, examples.fidelity])


def test_every_column_that_differs_enters_and_gaps_are_flagged() -> None:
    matrix = np.array([[0.0, 1.0, np.nan, 5.0], [1.0, 1.0, 2.0, np.nan], [0.0, 1.0, 4.0, np.nan]])
    columns = Columns.fitted(matrix)
    assert columns.kept.tolist() == [0, 2]
    assert columns.flagged.tolist() == [2, 3]
    encoded = columns.encode(matrix)
    assert encoded.shape == (3, columns.width)
    assert np.isfinite(encoded).all()
    assert encoded[0, 1] == 0.0
    assert encoded[0, 2:].tolist() == [1.0, 0.0]


def test_a_table_without_scores_is_refused() -> None:
    table = build_table(make(WORLD))
    empty = replace(table, reached=np.zeros_like(table.reached))
    with pytest.raises(InputError, match="no score to learn from"):
        DeepKernelModel.fit(np.zeros((16, 1)), np.zeros((5, 0)), empty, seed=0)


def test_tensors_have_their_own_precision() -> None:
    assert tensor(np.zeros(2)).dtype == torch.float64
