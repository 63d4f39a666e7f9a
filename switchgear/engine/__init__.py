"""How a call is carried out: the pipeline, an attempt, the upstream transport."""
