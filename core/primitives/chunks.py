"""Large matrices a block of rows at a time: memory stays bounded, and a block stays in the processor's cache."""


def row_blocks(n_rows: int, row_entries: int, block_entries: int) -> list[slice]:
    """Rows 0 to `n_rows` in blocks of at most `block_entries` entries, of at least one row; a row has `row_entries`."""
    rows = max(block_entries // max(row_entries, 1), 1)
    return [slice(first, min(first + rows, n_rows)) for first in range(0, n_rows, rows)]
