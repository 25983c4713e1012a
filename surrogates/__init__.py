"""What has been learned: from any meta-dataset of numbers to a plan for a task that nobody has tried yet.

``metadataset.MetaDataset`` is what is learned from, ``recommender.Recommender`` learns and answers with a
``plan.Plan``; ``serving.client.SurrogateClient`` asks the actor that keeps one warm. Imports
``orchestrator.contracts`` and ``orchestrator.metadataset``; Ray in ``serving`` only. Nothing is
re-exported here, so that importing one module costs that module.
"""

__all__: list[str] = []
