"""Carriers that numbers are bought from."""
