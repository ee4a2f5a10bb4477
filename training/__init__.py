"""What needs labels: the ledger, the dataset, fitting, evaluation, thresholds, the gate."""
