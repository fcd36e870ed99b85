"""One file or folder per study, with its declaration `STUDY`; a new one is found by itself."""
