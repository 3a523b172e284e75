"""Phones as the text of utterances: where they come from (`source`), and how they are written (`ipa`)."""
