"""What leaves the toolkit: a trained upstream for others to load, a submission folder, a model card written again."""
