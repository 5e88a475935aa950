"""Turns the models of a RUN into bundles: convert, judge on held-out pages, write what passes."""
