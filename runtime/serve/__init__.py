"""The HTTP service and the page for a tablet; needs the extra `serve`."""
