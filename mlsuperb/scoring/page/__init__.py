"""What every page has in common: blocks of text and numbers, style, script and frame."""
