"""Blind listening tests."""
