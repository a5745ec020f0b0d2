"""Networks computed by other programs than PyTorch: written as graphs, and called as the pipelines call theirs."""
