"""Where state is kept, behind the ports of core; nothing is kept yet."""
