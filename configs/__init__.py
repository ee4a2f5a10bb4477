"""What may be tuned: the spec, its loader and errors, and the shipped YAML files."""
