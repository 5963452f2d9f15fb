"""Parts that several rooms use: pipelines, queues, walkers, products of magnitudes."""
