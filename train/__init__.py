"""The training stage: real pages in, a RUN folder (splits, weights, predictions, report) out."""
