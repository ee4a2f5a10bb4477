"""The command line: one file per verb, all registered in `app`."""
