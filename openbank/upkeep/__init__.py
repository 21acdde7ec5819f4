"""What operators run beside serving: copy, restore, verify."""
