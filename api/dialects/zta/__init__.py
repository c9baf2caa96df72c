"""Zero Trust Analytics: sites, their statistics, and all that is kept about them."""
