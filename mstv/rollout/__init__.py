"""Steps, plans and the loop that runs them."""
