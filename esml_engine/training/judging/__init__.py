"""Whether a model may take another's place: both on the same rows, the gates, and what would make them pass."""
