"""How a question is asked: its options, the turns, the measuring, and what is printed, written and drawn."""
