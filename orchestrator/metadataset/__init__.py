"""The meta-dataset: Parquet tables under one root, and the ledger that writes them.

``ledger.Ledger`` writes, one process at a time; ``reader.MetaDatasetReader`` and any Parquet reader read,
also while it is written; ``verify.verify`` and ``verify.compare`` prove. Imports ``orchestrator.contracts``,
pyarrow and pandas. Nothing is re-exported here, so that ``layout`` and ``durable`` stay cheap to import.
"""

__all__: list[str] = []
