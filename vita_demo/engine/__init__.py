"""Where model and generation meet: encode, choose an engine, watch its tokens."""
