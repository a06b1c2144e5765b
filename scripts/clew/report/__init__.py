"""The report that a reviewer reads: what a change did to data and model, and why."""
