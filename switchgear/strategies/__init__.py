"""Ways of ordering the targets of a model, one file each."""
