"""What runs on a GPU: tasks, base models, the search space, the trainer. Only ``workers.actor`` needs Ray."""
