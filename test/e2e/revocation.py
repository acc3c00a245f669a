"""When open connections end that policy denies by now: what every test of it expects."""
import time

# Seconds from the moment that the change is in force at the host until the last packet comes through: one
# (docs/reference/agent.md), and one more where the machine is busy. Figures: ./do bench revocation.
AT_MOST = 2.0


def watch():
    time.sleep(AT_MOST + 0.5)  # how long nothing may come through: there is no condition to wait for
