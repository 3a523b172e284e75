"""How well an ASR model understands re-synthesised speech."""
