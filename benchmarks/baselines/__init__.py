"""What ours is measured against: programs a competent team writes with the same libraries."""
