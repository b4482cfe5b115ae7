"""From a hypothesis to the losses of its references: who is drawn, what is computed, on which rows."""
