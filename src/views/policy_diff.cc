#include "views/policy_diff.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>
#include <tuple>

#include "views/explain.h"
#include "views/matrix.h"
#include "views/mentions.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

using policy::Direction;
using policy::Verdict;

void add_probes(Protocol icmp, const IcmpKind& kind, bool crosses, std::vector<Probe>& probes) {
  const auto own = icmp == kIcmp ? Family::kIpv4 : Family::kIpv6;
  const auto other = icmp == kIcmp ? Family::kIpv6 : Family::kIpv4;
  const auto* others = kind.other_types ? "other types" : kind.other_codes ? "other codes" : "";
  Traffic traffic{.protocol = icmp, .icmp_type = kind.type, .icmp_code = kind.code};
  if (crosses) probes.push_back({.traffic = traffic, .others = others, .family = other});
  traffic.family = own;
  probes.push_back({.traffic = traffic, .others = others});
}

bool is_asked(const Probe& probe, Family family) {
  return probe.traffic.family.value_or(family) == family && probe.family.value_or(family) == family;
}

void add_probes(const Mentions& mentions, Protocol protocol, std::vector<Probe>& probes) {
  const Traffic traffic{.protocol = protocol};
  if (traffic.has_port()) {
    for (const PortRange range : mentions.port_ranges(protocol)) {
      probes.push_back({.traffic = {.protocol = protocol, .port = range.first}, .ports = range});
    }
  } else if (traffic.is_icmp()) {
    for (const IcmpKind& kind : mentions.icmp_kinds(protocol)) {
      add_probes(protocol, kind, mentions.crosses_families(protocol), probes);
    }
  } else {
    probes.push_back({.traffic = traffic});
  }
}

// An end of a conversation as both snapshots have it.
struct Both {
  const Party* before;
  const Party* after;

  bool has(Family family) const { return before->address(family) && after->address(family); }
};

class Comparison {
 public:
  Comparison(const policy::Snapshot& before, const policy::Snapshot& after)
      : before_(before),
        after_(after),
        hosts_before_(before_.inventory().hosts()),
        hosts_after_(after_.inventory().hosts()) {
    pair_up(before_.inventory().endpoints(), after_.inventory().endpoints(),
            [](const Party& party) { return *party.endpoint; });
    leave_out_open_hosts();
    pair_up(hosts_before_, hosts_after_,
            [](const Party& party) { return ResourceKey{Kind::kNode, "", party.node}; });
  }

  PolicyDiff run(const std::vector<Probe>& probes, std::optional<Family> wanted) {
    for (const Both& from : ends_) {
      for (const Both& to : ends_) {
        if (from.before == to.before) continue;
        for (const auto family : kFamilies) {
          if (wanted.value_or(family) != family || !from.has(family) || !to.has(family)) continue;
          for (auto& change : changes(from, to, family, probes)) diff_.changes.push_back(std::move(change));
        }
      }
    }
    return std::move(diff_);
  }

 private:
  template <class Key>
  void pair_up(const std::vector<Party>& before, const std::vector<Party>& after, Key key) {
    std::map<ResourceKey, const Party*> now;
    for (const Party& party : after) now.emplace(key(party), &party);
    std::size_t both = 0;
    for (const Party& party : before) {
      const auto found = now.find(key(party));
      if (found == now.end()) continue;
      ends_.push_back({&party, found->second});
      ++both;
    }
    diff_.one_sided += before.size() + after.size() - 2 * both;
  }

  // Those that have no host endpoint, neither before nor after.
  void leave_out_open_hosts() {
    std::set<std::string> guarded;
    for (const auto* hosts : {&hosts_before_, &hosts_after_}) {
      for (const Party& host : *hosts) {
        if (host.host_policy) guarded.insert(host.node);
      }
    }
    for (auto* hosts : {&hosts_before_, &hosts_after_}) {
      std::erase_if(*hosts, [&](const Party& host) { return !guarded.contains(host.node); });
    }
  }

  // Pairs whose answers follow from the same as before change in nothing; those on the grounds of others
  // change as they do.
  std::vector<VerdictChange> changes(const Both& from, const Both& to, Family family,
                                     const std::vector<Probe>& probes) {
    const auto was = before_.grounds(*from.before, *to.before, family);
    const auto is = after_.grounds(*from.after, *to.after, family);
    diff_.compared += asked(probes, family);
    if (!was || !is) return compare(from, to, family, probes);
    if (*was == *is) return {};
    const auto [known, is_new] = changes_by_grounds_.try_emplace({family, *was, *is});
    if (is_new) known->second = compare(from, to, family, probes);
    auto changes = known->second;
    for (auto& change : changes) {
      change.from = from.after->name;
      change.to = to.after->name;
    }
    return changes;
  }

  // Ports that change in the same way, for the same reason, stand together.
  std::vector<VerdictChange> compare(const Both& from, const Both& to, Family family,
                                     const std::vector<Probe>& probes) {
    std::vector<VerdictChange> changes;
    for (const Probe& probe : probes) {
      if (!is_asked(probe, family)) continue;
      auto change = compare(from, to, family, probe);
      if (!change) continue;
      const auto same = std::ranges::find_if(changes, [&](const VerdictChange& known) {
        return !known.ports.empty() && known.traffic.protocol == change->traffic.protocol &&
               known.before == change->before && known.after == change->after &&
               known.pending_before == change->pending_before &&
               known.pending_after == change->pending_after && known.reason == change->reason;
      });
      if (same == changes.end()) {
        changes.push_back(*std::move(change));
      } else {
        extend(same->ports, change->ports.front());
      }
    }
    return changes;
  }

  std::optional<VerdictChange> compare(const Both& from, const Both& to, Family family, const Probe& probe) {
    const auto was = before_.ask(*from.before, *to.before, probe.traffic, family);
    const auto is = after_.ask(*from.after, *to.after, probe.traffic, family);
    if (was.verdict() == is.verdict() && was.pending() == is.pending()) return std::nullopt;
    const bool staged = was.verdict() == is.verdict();
    const bool at_source =
        staged ? was.egress.pending != is.egress.pending : was.egress.verdict != is.egress.verdict;
    const auto direction = at_source ? Direction::kEgress : Direction::kIngress;
    VerdictChange change{
        .from = from.after->name,
        .to = to.after->name,
        .traffic = probe.traffic,
        .others = probe.others,
        .family = family,
        .before = was.verdict(),
        .after = is.verdict(),
        .pending_before = was.pending(),
        .pending_after = is.pending(),
        .reason = after_.reason(*from.after, *to.after, probe.traffic, family, direction, staged)};
    if (probe.ports) change.ports.push_back(*probe.ports);
    if (staged) change.reason = "staged, " + change.reason;
    return change;
  }

  static std::size_t asked(const std::vector<Probe>& probes, Family family) {
    return static_cast<std::size_t>(
        std::ranges::count_if(probes, [&](const Probe& probe) { return is_asked(probe, family); }));
  }

  const Connectivity before_;
  const Connectivity after_;
  std::vector<Party> hosts_before_;
  std::vector<Party> hosts_after_;
  std::vector<Both> ends_;
  std::map<std::tuple<Family, Connectivity::Grounds, Connectivity::Grounds>, std::vector<VerdictChange>>
      changes_by_grounds_;
  PolicyDiff diff_;
};

std::string change_text(Verdict before, Verdict after) {
  return before == after ? std::string(policy::to_string(after))
                         : fmt::format("{} -> {}", policy::to_string(before), policy::to_string(after));
}

}  // namespace

std::string VerdictChange::traffic_text() const {
  const bool every = ports == std::vector{PortRange{1, 65535}};
  const auto text = ports.empty() ? traffic.to_string()
                    : every       ? traffic.protocol_text()
                            : fmt::format("{}/{}", traffic.protocol_text(), fmt::join(texts_of(ports), ","));
  return others.empty() ? text : fmt::format("{} and {}", text, others);
}

std::vector<Probe> probes_of(const policy::Snapshot& before, const policy::Snapshot& after) {
  Mentions mentions(before);
  mentions.add(after);
  std::vector<Probe> probes;
  for (const auto protocol : mentions.protocols()) add_probes(mentions, protocol, probes);
  if (const auto other = mentions.other_protocol()) {
    const Traffic traffic{.protocol = *other};
    probes.push_back({.traffic = traffic, .others = "others"});
  }
  return probes;
}

PolicyDiff diff(const policy::Snapshot& before, const policy::Snapshot& after,
                const std::vector<Probe>& probes, std::optional<Family> wanted) {
  return Comparison(before, after).run(probes, wanted);
}

std::string to_text(const PolicyDiff& diff) {
  if (diff.changes.empty()) return fmt::format("No verdict changes ({} compared).\n", diff.compared);
  TextTable table;
  table.headers = {"FROM", "TO", "TRAFFIC", "IP", "VERDICT", "WITH STAGED", "BECAUSE"};
  for (const auto& change : diff.changes) {
    table.rows.push_back({change.from, change.to, change.traffic_text(),
                          fmt::format("{}", number_of(change.family)),
                          change_text(change.before, change.after),
                          change_text(change.pending_before, change.pending_after), change.reason});
  }
  return table.to_string() +
         fmt::format("\n{} changes; {} answers compared.\n", diff.changes.size(), diff.compared);
}

boost::json::object to_json(const PolicyDiff& diff) {
  boost::json::array changes;
  for (const auto& change : diff.changes) {
    boost::json::object object;
    object["from"] = change.from;
    object["to"] = change.to;
    add_traffic(object, change.traffic, change.family);
    object.erase("port");
    if (!change.ports.empty()) {
      boost::json::array ports;
      for (const auto& text : texts_of(change.ports)) ports.emplace_back(text);
      object["ports"] = std::move(ports);
    }
    object["others"] = change.others;
    object["before"] = policy::to_string(change.before);
    object["after"] = policy::to_string(change.after);
    object["pendingBefore"] = policy::to_string(change.pending_before);
    object["pendingAfter"] = policy::to_string(change.pending_after);
    object["reason"] = change.reason;
    changes.push_back(std::move(object));
  }
  return {
      {"changes", std::move(changes)}, {"compared", diff.compared}, {"endpointsOnOneSide", diff.one_sided}};
}

}  // namespace ocicat::views
