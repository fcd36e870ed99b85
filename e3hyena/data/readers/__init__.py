"""One file per format of molecules; `e3hyena.data.structures` chooses."""
