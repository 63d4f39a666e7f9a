"""Real models on this machine, run as child processes so that the gateway shares neither memory nor fate."""
