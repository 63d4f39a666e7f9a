"""What clients may speak, one file per dialect."""
