"""What is compared and is no part of the library: opponents, and networks around all mixers."""
