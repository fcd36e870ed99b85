"""What the library is compared with and is no part of it, one file each."""
