"""Who listens in a lab to what packets.py sends, and who sends it."""
import pathlib
import subprocess
import sys

PACKETS = str(pathlib.Path(__file__).with_name("packets.py"))


class Ear:
    def __init__(self, lab, *where, by="", texts=()):
        """Where: the words of `ocicat lab` up to "--", then those of packets.py; to the text "last", and of these; by
        one interface alone if it is named."""
        split = where.index("--") + 1
        way = ["env", "WAY=" + by] if by else []
        words = [*where[:split], *way, sys.executable, PACKETS, *where[split:], "last", *texts]
        self.process = subprocess.Popen([lab.binary, "lab", *words], stdout=subprocess.PIPE, text=True,
                                        env=lab.environment)
        assert self.process.stdout.readline() == "+\n"

    def heard(self):
        """All that came up to the last, honest packet; those before it have been judged by then."""
        return self.process.communicate(timeout=60)[0].split()


def send(lab, source, target, *texts, pod="shop/sender"):
    lab.exec(pod, sys.executable, PACKETS, "send", source, target, "9", *texts)
