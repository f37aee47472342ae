"""The files of `core/primitives`, which are the contract, mirrored in Jittor."""
