"""The tables of a meta-dataset: columns, types, meanings. The only place that names them.

Changes are additive: a new column is nullable, and ``SCHEMA_VERSION`` grows by one.
"""

import enum

import pyarrow as pa

SCHEMA_VERSION = 2
VERSION_KEY = b"foretune.schema_version"


class Table(enum.StrEnum):
    """A table; its value is its folder's name. In this order rows refer to rows of tables before them."""

    ATTEMPTS = "attempts"
    TASKS = "tasks"
    CURVES = "curves"
    TRIALS = "trials"

    @property
    def schema(self) -> pa.Schema:
        """The columns as Arrow types, with their meanings as metadata."""
        return _SCHEMAS[self]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return _COLUMNS[self]

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell any two rows apart."""
        return _KEYS[self]


_KEYS = {
    Table.ATTEMPTS: ("trial_id", "attempt", "event"),
    Table.TASKS: ("task_id",),
    Table.CURVES: ("trial_id", "epoch"),
    Table.TRIALS: ("trial_id", "attempt"),
}

_Columns = tuple[tuple[str, pa.DataType, str], ...]
_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

_CURVES: _Columns = (
    ("trial_id", _TEXT, "hash of task, config, seed, base model, space and settings"),
    ("attempt", _INT, "the attempt that committed the row, from 0"),
    ("task_id", _TEXT, "hash of the task's rows"),
    ("config_id", _TEXT, "hash of the config"),
    ("seed", _INT, "the trial's seed"),
    ("epoch", _INT, "epochs done when measured, from 1"),
    ("step", _INT, "optimizer steps done, over all epochs"),
    ("tokens", _INT, "training tokens seen without padding, over all epochs"),
    ("train_loss", _FLOAT, "nats per answer token, minimised"),
    ("eval_loss", _FLOAT, "validation split, nats per answer token, minimised"),
    ("eval_exact_match", _FLOAT, "validation split, mean over examples in [0, 1], maximised"),
    ("eval_token_f1", _FLOAT, "validation split, mean over examples in [0, 1], maximised"),
    ("test_loss", _FLOAT, "test split, nats per answer token, minimised"),
    ("test_exact_match", _FLOAT, "test split, mean over examples in [0, 1], maximised"),
    ("test_token_f1", _FLOAT, "test split, mean over examples in [0, 1], maximised"),
    ("train_s", _FLOAT, "wall seconds of training in this epoch alone"),
    ("eval_s", _FLOAT, "wall seconds of evaluation after this epoch alone"),
    ("cpu_s", _FLOAT, "CPU seconds of this epoch in the worker's process"),
    ("peak_memory_bytes", _INT, "device memory at its highest in this attempt so far, bytes"),
    ("device", _TEXT, "device name"),
    ("eval_rouge_l", _FLOAT, "validation split, mean ROUGE-L F-measure in [0, 1], maximised"),
    ("test_rouge_l", _FLOAT, "test split, mean ROUGE-L F-measure in [0, 1], maximised"),
    ("eval_judge", _FLOAT, "validation split, mean verdict of the LLM judge in [0, 1]; null without a judge"),
    ("test_judge", _FLOAT, "test split, mean verdict of the LLM judge in [0, 1]; null without a judge"),
    ("generation_s", _FLOAT, "wall seconds of generating answers in this epoch, a part of eval_s"),
    ("judge_s", _FLOAT, "wall seconds spent on the judge in this epoch, no part of eval_s"),
)
_TRIALS: _Columns = (
    ("trial_id", _TEXT, "hash of task, config, seed, base model, space and settings"),
    ("task_id", _TEXT, "hash of the task's rows"),
    ("task_name", _TEXT, "the task's name in its sweep"),
    ("task_source", _TEXT, "what the task was loaded from"),
    ("config_id", _TEXT, "hash of the config"),
    ("config", _TEXT, "the config as a JSON object; inactive names are absent"),
    ("seed", _INT, "the trial's seed"),
    ("base_model", _TEXT, "what the base model was loaded from"),
    ("base_fingerprint", _TEXT, "hash of the base model's files, or its revision"),
    ("space_version", _TEXT, "version of the search space"),
    ("settings", _TEXT, "the sweep's training settings as a JSON object"),
    ("max_epochs", _INT, "planned fidelity, epochs"),
    ("outcome", _TEXT, "how the trial ended"),
    ("epochs", _INT, "epochs on record, the curve's length"),
    ("attempt", _INT, "the attempt that finished it, from 0"),
    ("train_s", _FLOAT, "wall seconds of training over all epochs, those that left no row included"),
    ("eval_s", _FLOAT, "wall seconds of evaluation over all epochs"),
    ("peak_memory_bytes", _INT, "device memory at its highest in the last attempt, bytes"),
    ("device", _TEXT, "device name"),
    ("error", _TEXT, "why it did not complete; null if it did"),
    ("finished_at", _TEXT, "UTC, ISO 8601"),
    ("provenance", _TEXT, "code, packages, worker and data revision as a JSON object"),
)
_TASKS: _Columns = (
    ("task_id", _TEXT, "hash of the task's rows"),
    ("name", _TEXT, "the task's name"),
    ("source", _TEXT, "what the task was loaded from"),
    ("base_fingerprint", _TEXT, "base model under which the model-dependent meta-features were measured"),
    ("train_examples", _INT, "examples of the train split"),
    ("eval_examples", _INT, "examples of the validation split"),
    ("test_examples", _INT, "examples of the test split"),
    ("meta_features", _TEXT, "name to number as a JSON object; null where not a number"),
    ("truncated_prompts", _INT, "examples whose prompt lost its beginning to max_length_tokens"),
    ("truncated_answers", _INT, "examples whose answer lost its end to max_length_tokens"),
)
_ATTEMPTS: _Columns = (
    ("trial_id", _TEXT, "hash of task, config, seed, base model, space and settings"),
    ("attempt", _INT, "counts from 0"),
    ("event", _TEXT, "granted, started, lost, paused or finished"),
    ("worker", _TEXT, "the worker that held the lease"),
    ("detail", _TEXT, "why it was lost or paused, or with which outcome it finished"),
    ("at", _TEXT, "UTC, ISO 8601 with milliseconds; for people, nothing is decided by it"),
)


def _schema(table: Table, columns: _Columns) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"doc": doc}) for name, kind, doc in columns]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION), b"foretune.table": table.value})


_SCHEMAS = {
    Table.ATTEMPTS: _schema(Table.ATTEMPTS, _ATTEMPTS),
    Table.TASKS: _schema(Table.TASKS, _TASKS),
    Table.CURVES: _schema(Table.CURVES, _CURVES),
    Table.TRIALS: _schema(Table.TRIALS, _TRIALS),
}
_COLUMNS = {table: tuple(schema.names) for table, schema in _SCHEMAS.items()}
