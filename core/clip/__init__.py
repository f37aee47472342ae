"""CLIP as the heads need it.

`model` says what a CLIP must offer, `features` what its image tower gives, `block` opens up the last block; `view` shows it
pictures, `text` and `tokenizer` words; `saved` keeps a pass for later.
"""
