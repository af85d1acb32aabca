"""What a model is worth: its answers beside the truth, metrics, how sure they are, which columns they rest on."""
