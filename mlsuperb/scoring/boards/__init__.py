"""Boards of published scores, and where our runs stand on them."""
