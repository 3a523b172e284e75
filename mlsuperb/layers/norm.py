"""Constants of normalisation."""

NORM_EPS = 1e-12  # ESPnet's `espnet.nets.pytorch_backend.transformer.layer_norm`
