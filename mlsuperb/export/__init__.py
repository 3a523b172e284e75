"""Exports: a trained upstream for others to load, a submission folder of the challenge."""
