"""Files: `reading` takes them in and `writing` puts them in place whole or not at all; `records` keeps arrays with facts.

`pictures` opens pictures, `depth` knows what they say of values beyond 8 bits, `cache` names a folder.
"""
