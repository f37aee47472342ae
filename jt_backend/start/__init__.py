"""Jittor made ready for this machine; importing these files does not import it."""
