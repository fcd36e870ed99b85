"""What happens beside a training: Lightning callbacks, one file each."""
