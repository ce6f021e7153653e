"""Studies: the sizes of every experiment at each scale, and the sweeps at these sizes."""
