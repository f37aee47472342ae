"""Files: `writing` puts them in place whole or not at all, `records` keeps arrays with facts, `cache` names a folder."""
