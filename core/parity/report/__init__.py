"""What a comparison found, shown: `table` for the terminal, `page` and its `chart` for a browser."""
