"""Mistakes one could make, most of them in the policy compiler: each is one edit, and some test must see it.

A text to be replaced stands exactly once in its file. When code changes, a mutant moves with it: the mistake is what
counts, not the line.
"""
import collections

Mutant = collections.namedtuple("Mutant", "name file old new suites")

# Test programs and the targets that make them, in the order in which they are asked.
POLICY = {"policy_test": "src/policy/policy_test", "engine_test": "src/engine/engine_test"}
CLUSTER = {"cluster_sim_test": "test/sim/cluster_sim_test"}


def mutant(name, file, old, new):
    return Mutant(name, "src/policy/" + file, old, new, POLICY)


def between(name, file, old, new):
    """One in what lies between the server's file and an agent's kernel: for the simulated cluster to see."""
    return Mutant(name, "src/" + file, old, new, CLUSTER)


MUTANTS = [
    # From rules to cells.
    mutant("negated-sets-forgotten", "compiler.cc",
           " && std::ranges::none_of(side.not_in, in);",
           ";"),
    mutant("pass-goes-on-in-its-tier", "compiler.cc",
           "sweep.set_aside(areas, think);",
           "sweep.note(areas, think);"),
    mutant("named-ports-of-both-sides-swapped", "compiler.cc",
           "rectangles_of(match, family_, ingress ? peer : own, ingress ? own : peer)",
           "rectangles_of(match, family_, ingress ? own : peer, ingress ? peer : own)"),
    mutant("encapsulation-refused-on-the-way-in", "policy_index.cc",
           """} else if (hook.direction == Direction::kEgress) {
    plan.encapsulation""",
           """} else {
    plan.encapsulation"""),
    mutant("cut-loses-what-is-behind-it", "sweep.cc",
           "(end - 1)->first = last + 1;",
           "(end - 1)->first = last + 2;"),
    mutant("source-ports-joined-whatever-they-say", "sweep.cc",
           "parts[kept].thought == parts[i].thought && parts[kept].last + 1 == parts[i].first",
           "parts[kept].last + 1 == parts[i].first"),
    mutant("port-range-within-another-ends-it", "rectangles.cc",
           "ports.back().last = std::max(ports.back().last, range.last);",
           "ports.back().last = range.last;"),
    mutant("ports-limit-no-other-protocol", "rectangles.cc",
           "if (!limits) {",
           "if (true) {"),
    mutant("icmp-code-taken-for-a-type", "rectangles.cc",
           "if (icmp.code) range.first = range.last = range.first | *icmp.code;",
           "if (icmp.code && *icmp.code != 0) range.first = range.last = range.first | *icmp.code;"),
    # The twin, and what both read.
    mutant("twin-selector-always-subsumed", "rule_match.cc",
           "return !match.named_ports.empty() && match.ports.empty();",
           "return !match.named_ports.empty();"),
    mutant("twin-named-port-of-any-owner", "rule_match.cc",
           """ &&
           (!side.match.selector || owner->is_selected_by(*side.match.selector));""",
           ";"),
    mutant("rule-of-no-namespace-kept-in-one", "model.cc",
           "} else if (!own_ns.empty() && selects_by_label) {",
           "} else if (!own_ns.empty() || selects_by_label) {"),
    mutant("missing-tier-passes", "model.cc",
           ".order = std::nullopt, .default_action = Action::kDeny, .missing = true}",
           ".order = std::nullopt, .default_action = Action::kPass, .missing = true}"),
    mutant("nets-of-the-other-family-match", "model.cc",
           "if (!nets->empty() && std::ranges::none_of(*nets, is_of_family)) return false;",
           "if (!nets->empty() && nets->empty()) return false;"),
    # What is shared, and what is told apart.
    mutant("negated-named-ports-make-no-difference", "rule_book.cc",
           "    add_list(side.not_named_ports);\n",
           ""),
    mutant("set-that-goes-out-of-use-stays", "rule_book.cc",
           "if (--atoms_[atom].active == 0) touched_.push_back(atom);",
           "--atoms_[atom].active;"),
    mutant("end-of-tier-forgets-who-selected", "compiler_outcomes.cc",
           "      add(part.names());\n",
           ""),
    mutant("rule-against-a-set-asked-as-if-of-nobody", "compiler.cc",
           "      std::ranges::for_each(rule.areas, touch);  // it holds without the sets, if not with them\n",
           ""),
    mutant("standing-rules-forgotten-beside-a-set", "compiler.cc",
           "for (; at != standing_.end() && at->first <= last; ++at) places.push_back(at->place);",
           "static_cast<void>(last);"),
    mutant("what-a-lone-rule-leaves-is-forgotten", "compiler.cc",
           "return area.first_source == sources.first && area.last_source == sources.last;",
           "return area.first_source >= sources.first;"),
    mutant("source-ports-of-the-last-rule-alone", "compiler.cc",
           "sources = {std::min(sources.first, area.first_source), std::max(sources.last, area.last_source)};",
           "sources = {area.first_source, area.last_source};"),
    mutant("log-rules-settle-a-match", "compiler.cc",
           "  if (rule.action == Action::kLog || list.staged()) return;\n  bench_.settled.mark(rule.match);",
           "  bench_.settled.mark(rule.match);\n  if (rule.action == Action::kLog || list.staged()) return;"),
    mutant("lone-set-beside-one-that-shares-its-ports", "compiler_lone.cc",
           "shares[area->set] = shares[widest->set] = true;",
           "shares[area->set] = true;"),
    mutant("lone-set-though-its-rule-asks-for-another", "compiler_lone.cc",
           "rule.names_peer_ports || asked.size() > 1",
           "rule.names_peer_ports"),
    mutant("staged-rules-leave-nothing-to-their-run", "policy_run.cc",
           "if (rule.action != Action::kLog && !list.staged()) marks.mark(rule.match);",
           "if (rule.action != Action::kLog) marks.mark(rule.match);"),
    mutant("run-kept-when-a-policy-of-it-goes", "policy_index.cc",
           "  runs_by_selector_.erase(policy.selector);\n",
           ""),
    mutant("set-that-comes-back-has-another-number", "set_space.cc",
           "it != resting_by_meaning_.end()) {",
           "it != resting_by_meaning_.end() && false) {"),
    mutant("difference-joins-over-a-gap", "table_store.cc",
           "if (!intervals.empty() && intervals.back().last + 1 == interval.first &&",
           "if (!intervals.empty() &&"),
    mutant("programs-of-both-families-shared", "program_store.cc",
           """static_cast<int>(family),
                                    sets_.digest(own_signature)""",
           "0, sets_.digest(own_signature)"),
    mutant("projection-of-a-gone-class-stays", "program_store.cc",
           "for (const auto id : classes.gone_classes) remove_projection(vocabulary, id);",
           ""),
    # What changes, and whom it concerns.
    mutant("net-that-goes-stays-around-others", "address_index.cc",
           "if (blends_[id].key != 0 && around(id) == wide) surround(id, next, kinship);",
           "static_cast<void>(next);"),
    mutant("net-that-divides-a-blend-takes-all-of-it", "address_index.cc",
           "if (prefix.contains(blend.bound)) {",
           "if (prefix.contains(blend.bound) || blend.bound.contains(prefix)) {"),
    mutant("nearest-net-is-the-widest", "address_index.cc",
           "for (int length = prefix.length - 1; length >= 0; --length) {",
           "for (int length = 0; length < prefix.length; ++length) {"),
    mutant("heir-of-a-class-not-shown", "class_index.cc",
           "    moved = true;\n",
           ""),
    mutant("changed-named-port-goes-unnoticed", "member_index.cc",
           "member.present && member.labels == labels && member.profiles == profiles && member.ports == ports;",
           "member.present && member.labels == labels && member.profiles == profiles;"),
    mutant("labels-handed-down-late", "member_index.cc",
           "if (it->second != labels) touch_heirs(name);",
           "if (it->second == 0) touch_heirs(name);"),
    mutant("tier-moves-without-its-endpoints", "policy_index.cc",
           """  tiers_.insert_or_assign(tier.metadata.name, effective(tier));
  touch_tier(tier.metadata.name);""",
           "  tiers_.insert_or_assign(tier.metadata.name, effective(tier));"),
    mutant("selector-number-used-again-too-soon", "policy_index.cc",
           "    local.selectors.erase(it);\n",
           ""),
    mutant("policies-of-one-order-the-other-way", "policy_run.cc",
           "return joined_before(a, b);",
           "return joined_before(b, a);"),
    # Between the server's file and the kernel.
    between("acknowledged-deletion-not-written", "store/sqlite/tables.cc",
            "TRY_VOID(erase_.start().bind(kind).bind(key.ns).bind(key.name).run());",
            "erase_.start().bind(kind).bind(key.ns).bind(key.name);"),
    between("expired-watch-tried-for-ever", "api/client/list_watch.cc",
            "if (broken_ && broken_->code == ErrorCode::kExpired) resource_version_.clear();",
            ""),
    between("what-vanished-meanwhile-stays", "api/client/list_watch.cc",
            "for (const auto& key : gone) forget(step.update, key);",
            ""),
    between("half-a-snapshot-enforced", "agent/policy_keeper.cc",
            "if (!waiting_.in_sync) return step;",
            ""),
    between("garbage-goes-first", "dataplane/nftables/policy_table.cc",
            "  TRY_VOID(commit(prepared));\n",
            "  TRY_VOID(commit(to_batch({delta.garbage, {}})));\n  TRY_VOID(commit(prepared));\n"),
    between("in-step-whatever-failed", "dataplane/nftables/policy_table.cc",
            "if (!in_step_ || delta.empty()) return {};\n  in_step_ = false;",
            "if (!in_step_ || delta.empty()) return {};"),
]
