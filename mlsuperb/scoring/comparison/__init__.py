"""Runs side by side: tables of runs, groups of languages, two runs utterance by utterance."""
