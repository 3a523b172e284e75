"""report.html: what a run or a set of runs shows, in one file that needs no network."""
