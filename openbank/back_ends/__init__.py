"""Opening what a bank is kept in: one module per back end, loaded only where a setting names it."""
