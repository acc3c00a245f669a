"""What the errors of CNI plugins have to say."""
import re

COMMAND = re.compile(r"ocicat (--version|[a-z]+)|grep -rl|ip (netns|link|address|-[46] rule)|dmesg|df\b|curl|"
                     r"journalctl|systemctl")


def names_cause_and_command(error):
    """Whether an error's object says what is wrong, why, and what to run next."""
    return bool(error["msg"] and COMMAND.search(error["details"]))
