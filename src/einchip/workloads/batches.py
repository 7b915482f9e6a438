"""How a batch is divided into executions that follow one another."""


def divisors(batch: int) -> list[int]:
    """Return the divisors of a batch, the largest first."""
    return [n for n in range(batch, 0, -1) if batch % n == 0]
