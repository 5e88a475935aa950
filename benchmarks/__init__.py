"""Measures what the runtime costs on this machine, beside its peers and beside the limit."""
