"""Tables of learning curves that have nothing to do with language models, made on this machine."""
