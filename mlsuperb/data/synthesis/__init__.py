"""Making a stand-in for ML-SUPERB out of espeak-ng and CLDR's words: see `tree.py`."""
