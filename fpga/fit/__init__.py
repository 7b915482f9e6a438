"""What a machine takes on a part, estimated without synthesis; the largest machine that fits."""
