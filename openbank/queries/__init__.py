"""What callers can ask: one plain function per question, over the views."""
