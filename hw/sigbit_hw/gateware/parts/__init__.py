"""Parts shared by several packages: pipelines, queues, walkers, products of magnitudes."""
