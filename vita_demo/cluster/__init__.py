"""Many machines, by Ray: batches by Ray Data, serving by Ray Serve.  Nothing of Ray is imported without ``--ray``."""
