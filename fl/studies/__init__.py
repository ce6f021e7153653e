"""Studies by topic: the sizes at each scale, the sweeps at these sizes, stored runs."""
