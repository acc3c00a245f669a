"""What is wrong is refused, with its place; what gets through nevertheless never opens a hole."""
import json
import sqlite3

import pytest

import shop
from ocicat_lab import differences


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(3)
    shop.add_pods(lab)
    return lab


def refused(lab, text, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    done = lab.run("apply", "-f", str(file), check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


GOOD = """apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: good
  namespace: shop
spec:
  selector: app == "db"
---
"""

BAD = [
    ("a value that is not allowed",
     GOOD + "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\nspec:\n"
            "  ingress:\n  - action: allow\n",
     ["bad.yaml:14:", "NetworkPolicy shop/bad", "spec.ingress[0].action", '"allow"', "Allow"]),
    ("an unknown field",
     GOOD + "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\nspec:\n"
            "  ingres: []\n",
     ["bad.yaml:13:", "spec.ingres: []: unknown field; did you mean ingress?"]),
    ("an unknown kind",
     GOOD + "apiVersion: projectcalico.org/v3\nkind: NetworkPolice\nmetadata: {name: bad}\n",
     ["bad.yaml:", "NetworkPolice"]),
    ("text that is not YAML", GOOD + "apiVersion: [\n", ["bad.yaml:"]),
    ("a selector that cannot be read",
     GOOD + "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\nspec:\n"
            "  selector: app = 'db'\n",
     ["bad.yaml:13:", "spec.selector", "app = 'db'"]),
    ("ports without a protocol",
     GOOD + "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\nspec:\n"
            "  ingress:\n  - action: Allow\n    destination: {ports: [80]}\n",
     ["bad.yaml:", "spec.ingress[0]", "ports"]),
]


@pytest.mark.parametrize("text,wanted", [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_document_is_refused_with_its_place_and_nothing_is_applied(lab, tmp_path, text, wanted):
    message = refused(lab, text, tmp_path)
    for part in wanted:
        assert part in message, message
    assert lab.run("get", "networkpolicy", "good", "-n", "shop", check=False).returncode != 0


def test_every_bad_document_of_a_file_is_reported(lab, tmp_path):
    bad = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: bad-%d, namespace: shop}\n" \
          "spec: {ingress: [{action: %s}]}\n"
    message = refused(lab, bad % (1, "Maybe") + "---\n" + GOOD + bad % (2, "Perhaps"), tmp_path)
    assert "shop/bad-1" in message and "shop/bad-2" in message


MODIFIED = 2  # type of an event in the history


def rewrite(lab, name, change):
    """Edits a stored policy behind the server's back: what no validation has seen."""
    lab.run("lab", "server", "kill")
    database = sqlite3.connect(lab.folder / "server.db")
    with database:
        kind, namespace, text = database.execute(
            "SELECT kind, namespace, document FROM objects WHERE name = ?", (name,)).fetchone()
        document = json.loads(text)
        change(document)
        text = json.dumps(document, separators=(",", ":"))  # compact, as the server writes it
        newest = database.execute("SELECT max(revision) FROM history").fetchone()[0] + 1
        database.execute("UPDATE objects SET document = ?, revision = ? WHERE name = ?",
                         (text, newest, name))
        database.execute("INSERT INTO history(revision, kind, namespace, name, type, document)"
                         " VALUES(?, ?, ?, ?, ?, ?)", (newest, kind, namespace, name, MODIFIED, text))
    database.close()
    lab.run("lab", "server", "start", "--no-wait")


def test_a_policy_that_cannot_be_compiled_denies_for_those_it_selects_and_says_so(lab, eventually):
    policy = shop.policy("shop", "broken", {"selector": "app == 'db'", "types": ["Ingress"],
                                            "ingress": [{"action": "Allow"}]})
    lab.apply(policy)
    lab.wait()
    assert set(lab.probe(shop.PORTS).values()) == {"allow"}

    rewrite(lab, "broken", lambda document: document["spec"]["ingress"][0].update(protocol="Carrier-Pigeon"))

    def denied():
        cells = lab.probe("tcp/5432")
        return all(verdict == "deny" for key, verdict in cells.items() if key[1] == "shop/db")

    eventually(denied, 30)
    cells = lab.probe(shop.PORTS)
    assert {key[:2] for key, verdict in cells.items() if verdict == "deny"} == \
        {(name, "shop/db") for name, *_ in shop.PODS if name != "shop/db"}
    assert differences(cells, lab.matrix(shop.PORTS)) == []
    eventually(lambda: "broken" in lab.run("status", check=False).stdout, 30)

    lab.delete(policy)
    lab.wait()
    assert set(lab.probe(shop.PORTS).values()) == {"allow"}
    assert "broken" not in lab.run("status").stdout


def test_a_policy_whose_selector_cannot_be_read_keeps_its_last_readable_version(lab, eventually):
    policy = shop.policy("shop", "unreadable", {"selector": "app == 'db'", "types": ["Ingress"]})
    lab.apply(policy)
    lab.wait()
    assert lab.probe("tcp/5432")["shop/api", "shop/db", "tcp/5432", 4] == "deny"
    rewrite(lab, "unreadable", lambda document: document["spec"].update(selector="app = 'db'"))
    eventually(lambda: "unreadable" in lab.run("status", check=False).stdout, 30)
    assert lab.probe("tcp/5432")["shop/api", "shop/db", "tcp/5432", 4] == "deny"
    lab.delete(policy)
    lab.wait()
    assert lab.probe("tcp/5432")["shop/api", "shop/db", "tcp/5432", 4] == "allow"
