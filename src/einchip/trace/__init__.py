"""What the machine did, cycle by cycle: from simulator and RTL, compared, as files."""
