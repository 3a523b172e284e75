"""The features of a frozen upstream, computed once for each utterance and kept."""
