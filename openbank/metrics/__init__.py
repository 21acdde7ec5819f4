"""What operators see of a bank. It reads the bank's parts, which know nothing of it."""
