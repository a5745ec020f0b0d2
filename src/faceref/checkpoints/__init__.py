"""Model folders: where they live, and the import of checkpoints from elsewhere."""
