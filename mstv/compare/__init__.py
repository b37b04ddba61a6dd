"""Several runs -> one page, from result files only."""
